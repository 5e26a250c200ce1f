package log

import "io"

// An FS is the disk that logs are kept on. Names are paths as [path/filepath]
// joins them. Every error for a name that is not there matches fs.ErrNotExist.
// Calls may overlap. An FS may be a [Locker] too.
//
// What a crash of the machine may take: bytes of a file since its last Sync, in
// any part, and names created, renamed or removed since the SyncDir of their
// directory. Nothing else may change. Behind a Sync that failed, bytes from before it count
// as covered by no later one, of this process or another, until they are written again.
type FS interface {
	// Open opens a file for reading and writing.
	Open(name string) (File, error)
	// Create makes an empty file, or empties the one that is there.
	Create(name string) (File, error)
	// Rename gives a file a new name, replacing what had it, in one step.
	Rename(from, to string) error
	// Remove removes a file, or an empty directory.
	Remove(name string) error
	// MkdirAll makes a directory, and those above it.
	MkdirAll(dir string) error
	// ReadDir returns the names in a directory, in rising order.
	ReadDir(dir string) ([]string, error)
	// SyncDir makes durable which names the directory holds.
	SyncDir(dir string) error
}

// A File is an open file of an [FS]. Calls may overlap; reads see all writes
// that ended before them.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Truncate sets the size; what it adds is zeros.
	Truncate(size int64) error
	// Sync makes all writes that ended before it durable.
	Sync() error
	// Size returns the size in bytes.
	Size() (int64, error)
	Close() error
}
