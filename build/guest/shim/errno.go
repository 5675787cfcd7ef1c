package shim

// A reason is the text of an errno.
type reason struct {
	errno int
	text  string
}

// reasons are the ones that the shim's system calls are likely to give, by number,
// which is the same on both architectures. Any other is printed as "error".
var reasons = []reason{
	{1, "operation not permitted"},
	{2, "no such file or directory"},
	{5, "input/output error"},
	{6, "no such device or address"},
	{7, "argument list too long"},
	{8, "exec format error"},
	{11, "resource temporarily unavailable"},
	{12, "cannot allocate memory"},
	{13, "permission denied"},
	{14, "bad address"},
	{15, "block device required"},
	{16, "device or resource busy"},
	{19, "no such device"},
	{20, "not a directory"},
	{21, "is a directory"},
	{22, "invalid argument"},
	{23, "too many open files in system"},
	{24, "too many open files"},
	{26, "text file busy"},
	{28, "no space left on device"},
	{30, "read-only file system"},
	{31, "too many links"},
	{36, "file name too long"},
	{38, "function not implemented"},
	{40, "too many levels of symbolic links"},
	{74, "bad message"},
	{79, "can not access a needed shared library"},
	{80, "accessing a corrupted shared library"},
	{117, "structure needs cleaning"},
	{122, "disk quota exceeded"},
}

const otherReason = "error"
