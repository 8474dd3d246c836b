package pages

import "golang.org/x/sys/unix"

// advise may fail where the kernel has no large pages; nothing is lost then.
func advise(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
