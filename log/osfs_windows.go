package log

import (
	"os"
	"syscall"
)

// openFile opens a file so that it can be renamed and removed while it is open, as
// everywhere else: os.OpenFile does not ask for that. A removed file keeps its name
// until its last handle is closed on systems before Windows 10, version 1809; a
// segment that readers hold is then in the way of nothing but a log that is reset to
// the same offset, which fails, and may be tried again.
func openFile(name string, flag int) (*os.File, error) {
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	access := uint32(syscall.GENERIC_READ)
	if flag&os.O_RDWR != 0 {
		access |= syscall.GENERIC_WRITE
	}
	create := uint32(syscall.OPEN_EXISTING)
	if flag&os.O_CREATE != 0 {
		create = syscall.CREATE_ALWAYS
	}
	const share = syscall.FILE_SHARE_READ | syscall.FILE_SHARE_WRITE | syscall.FILE_SHARE_DELETE
	h, err := syscall.CreateFile(path, access, share, nil, create, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}
