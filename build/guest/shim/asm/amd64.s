# The interpreter of the init shim for linux/amd64. GNU as, AT&T syntax.
#
# It walks a list of steps. A step is one system call and says where to go on when
# the call has succeeded and when it has failed, and what to print when it has
# failed. Everything else about the shim is in the list, which image.go writes at
# the fixed address DATA and which nothing can change at run time.
#
# There are no relocations: branches are relative, the one absolute address is DATA.
#
# rbx  the current step        r12  argv     r13  envp     rbp  the errno

	.equ	DATA, 0x410400		# see image.go

	.equ	KMSG, DATA		# address of the path "/dev/kmsg"
	.equ	REASONS, DATA+8		# address of the list of reasons
	.equ	FIRST, DATA+16		# the first step

	# A step, in words of 8 bytes.
	.equ	NR, 0			# number of the system call
	.equ	A0, 8			# its five arguments
	.equ	A1, 16
	.equ	A2, 24
	.equ	A3, 32
	.equ	A4, 40
	.equ	EXEC, 48		# not 0: pass argv and envp, argv[0] being A0
	.equ	OK, 56			# address of the next step after success
	.equ	FAIL, 64		# the same after failure
	.equ	ALLOW, 72		# an errno that counts as success, or 0
	.equ	TEXT, 80		# what to print on failure,
	.equ	TEXTLEN, 88		# and its length; 0: print nothing

	# A reason, in words of 8 bytes: errno, text, length. Errno 0 is the last one
	# and is for every errno that is not in the list.
	.equ	REASON, 24

	# System calls of the printing itself.
	.equ	close, 3
	.equ	writev, 20
	.equ	openat, 257
	.equ	AT_FDCWD, -100
	.equ	O_WRONLY_APPEND_CLOEXEC, 0x80401

	.text
	.globl	_start
_start:
	mov	(%rsp), %rax		# argc, which is never 0 for the first process
	lea	8(%rsp), %r12
	lea	16(%rsp,%rax,8), %r13
	mov	$FIRST, %ebx

step:
	mov	NR(%rbx), %rax
	mov	A0(%rbx), %rdi
	mov	A1(%rbx), %rsi
	mov	A2(%rbx), %rdx
	mov	A3(%rbx), %r10
	mov	A4(%rbx), %r8
	cmpq	$0, EXEC(%rbx)
	je	call
	mov	%rdi, (%r12)
	mov	%r12, %rsi
	mov	%r13, %rdx
call:
	syscall
	cmp	$-4095, %rax
	jae	failed
ok:
	mov	OK(%rbx), %rbx
	jmp	step

failed:
	neg	%rax
	cmp	ALLOW(%rbx), %rax
	je	ok
	cmpq	$0, TEXTLEN(%rbx)
	je	next

	# Print three pieces: the step's text, the reason, "number)\n". They are an
	# array of struct iovec at rsp, and the last one's bytes end at rsp+64.
	mov	%rax, %rbp
	sub	$64, %rsp
	mov	TEXT(%rbx), %rax
	mov	%rax, (%rsp)
	mov	TEXTLEN(%rbx), %rax
	mov	%rax, 8(%rsp)

	mov	REASONS, %rsi
find:
	mov	(%rsi), %rax
	test	%rax, %rax
	je	found
	cmp	%rbp, %rax
	je	found
	add	$REASON, %rsi
	jmp	find
found:
	mov	8(%rsi), %rax
	mov	%rax, 16(%rsp)
	mov	16(%rsi), %rax
	mov	%rax, 24(%rsp)

	lea	62(%rsp), %rdi
	movw	$0x0a29, (%rdi)		# ")\n"
	mov	%ebp, %eax
	mov	$10, %ecx
digit:
	xor	%edx, %edx
	div	%ecx
	add	$'0', %dl
	dec	%rdi
	mov	%dl, (%rdi)
	test	%eax, %eax
	jne	digit
	mov	%rdi, 32(%rsp)
	lea	64(%rsp), %rax
	sub	%rdi, %rax
	mov	%rax, 40(%rsp)

	# Nothing can be done about failure here; without /dev/kmsg its two calls
	# below get the negative errno for a descriptor and fail as well.
	mov	$writev, %eax
	mov	$2, %edi
	mov	%rsp, %rsi
	mov	$3, %edx
	syscall
	mov	$openat, %eax
	mov	$AT_FDCWD, %rdi
	mov	KMSG, %rsi
	mov	$O_WRONLY_APPEND_CLOEXEC, %edx
	syscall
	mov	%rax, %rbp
	mov	$writev, %eax
	mov	%rbp, %rdi
	mov	%rsp, %rsi
	mov	$3, %edx
	syscall
	mov	$close, %eax
	mov	%rbp, %rdi
	syscall
	add	$64, %rsp
next:
	mov	FAIL(%rbx), %rbx
	jmp	step
