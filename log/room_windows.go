package log

import (
	"os"
	"syscall"
	"unsafe"
)

var getDiskFreeSpace = kernel32.NewProc("GetDiskFreeSpaceExW")

// Room implements [Roomer].
func (osFS) Room(dir string) (int64, error) {
	name, err := syscall.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	if err := getDiskFreeSpace.Find(); err != nil {
		return 0, err
	}
	var free int64
	ok, _, err := getDiskFreeSpace.Call(uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&free)), 0, 0)
	if ok == 0 {
		return 0, &os.PathError{Op: "free space", Path: dir, Err: err}
	}
	return free, nil
}
