// The interpreter of the init shim for linux/arm64. GNU as. See amd64.s for what
// it does; the layout of the data is the same, word for word.
//
// x19  the current step     x20  argv     x21  envp     x22  the errno
// x23  address of DATA

	.equ	DATA, 0x410400		// see image.go

	.equ	KMSG, 0			// offsets from DATA: address of "/dev/kmsg"
	.equ	REASONS, 8		// address of the list of reasons
	.equ	FIRST, 16		// the first step

	// A step. Words that are used together are loaded as pairs.
	.equ	NR, 0			// and A0
	.equ	A1, 16			// and A2
	.equ	A3, 32			// and A4
	.equ	EXEC, 48
	.equ	OK, 56
	.equ	FAIL, 64
	.equ	ALLOW, 72
	.equ	TEXT, 80		// and its length

	.equ	REASON, 24

	.equ	openat, 56
	.equ	close, 57
	.equ	writev, 66
	.equ	AT_FDCWD, -100
	.equ	O_WRONLY_APPEND, 0x401
	.equ	O_CLOEXEC, 0x80000

	.text
	.globl	_start
_start:
	ldr	x1, [sp]		// argc, which is never 0 for the first process
	add	x20, sp, #8
	add	x21, x20, x1, lsl #3
	add	x21, x21, #8
	movz	x23, #(DATA & 0xffff)
	movk	x23, #(DATA >> 16), lsl #16
	add	x19, x23, #FIRST

step:
	ldp	x8, x0, [x19, #NR]
	ldp	x1, x2, [x19, #A1]
	ldp	x3, x4, [x19, #A3]
	ldr	x9, [x19, #EXEC]
	cbz	x9, call
	str	x0, [x20]
	mov	x1, x20
	mov	x2, x21
call:
	svc	#0
	cmn	x0, #4095
	b.hs	failed
ok:
	ldr	x19, [x19, #OK]
	b	step

failed:
	neg	x22, x0
	ldr	x9, [x19, #ALLOW]
	cmp	x22, x9
	b.eq	ok
	ldp	x9, x10, [x19, #TEXT]
	cbz	x10, next

	// Print three pieces: the step's text, the reason, "number)\n". They are an
	// array of struct iovec at sp, and the last one's bytes end at sp+64.
	sub	sp, sp, #64
	stp	x9, x10, [sp]

	ldr	x1, [x23, #REASONS]
find:
	ldr	x9, [x1]
	cbz	x9, found
	cmp	x9, x22
	b.eq	found
	add	x1, x1, #REASON
	b	find
found:
	ldp	x9, x10, [x1, #8]
	stp	x9, x10, [sp, #16]

	add	x1, sp, #62
	mov	w9, #0x0a29		// ")\n"
	strh	w9, [x1]
	mov	w10, #10
digit:
	udiv	w9, w22, w10
	msub	w11, w9, w10, w22
	add	w11, w11, #'0'
	strb	w11, [x1, #-1]!
	mov	w22, w9
	cbnz	w22, digit
	add	x9, sp, #64
	sub	x9, x9, x1
	stp	x1, x9, [sp, #32]

	// Nothing can be done about failure here; without /dev/kmsg its two calls
	// below get the negative errno for a descriptor and fail as well.
	mov	x0, #2
	mov	x1, sp
	mov	x2, #3
	mov	x8, #writev
	svc	#0
	mov	x0, #AT_FDCWD
	ldr	x1, [x23, #KMSG]
	mov	x2, #O_WRONLY_APPEND
	orr	x2, x2, #O_CLOEXEC
	mov	x8, #openat
	svc	#0
	mov	x22, x0
	mov	x1, sp
	mov	x2, #3
	mov	x8, #writev
	svc	#0
	mov	x0, x22
	mov	x8, #close
	svc	#0
	add	sp, sp, #64
next:
	ldr	x19, [x19, #FAIL]
	b	step
