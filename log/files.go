package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// Small-file format
//
// A small file is replaced as a whole: written beside itself, synced, renamed,
// and the directory synced. All integers are big-endian.
//
//	byte  0       4     6     8        12      16
//	      +-------+-----+-----+--------+-------+---------
//	      | magic | ver |zero | length | crc   | payload
//	      +-------+-----+-----+--------+-------+---------
//
//	magic    uint32  which file this is
//	ver      uint16  of the payload; a reader refuses a greater one. The head is the
//	                 same in all versions, so that a damaged version is told from a
//	                 later one
//	zero     uint16  must be 0
//	length   uint32  of the payload; nothing may follow it
//	crc      uint32  CRC-32C of bytes 0 to 11 and of the payload
const (
	fileHeader  = 16
	fileLength  = 8
	fileCRC     = 12
	maxFileSize = 1 << 30
	tempSuffix  = ".tmp"
)

// A syncError is an error of a sync, which is final, where others may pass. It matches
// [ErrFailed].
type syncError struct{ err error }

func (e *syncError) Error() string        { return ErrFailed.Error() + ": " + e.err.Error() }
func (e *syncError) Is(target error) bool { return target == ErrFailed }
func (e *syncError) Unwrap() error        { return e.err }

// final tells whether err came out of a sync.
func final(err error) bool {
	_, ok := errors.AsType[*syncError](err)
	return ok
}

func syncFile(f File) error {
	if err := f.Sync(); err != nil {
		return &syncError{err}
	}
	return nil
}

// syncDir makes durable which names a directory holds.
func syncDir(fsys FS, dir string) error {
	if err := fsys.SyncDir(dir); err != nil {
		return &syncError{err}
	}
	return nil
}

// WriteFile replaces a small file, durably and in one step: after a crash it
// holds the old payload or the new. Calls for one name must not overlap. A sync that
// failed is [ErrFailed]: another attempt of this process would take for durable what is
// not.
func WriteFile(fsys FS, name string, magic uint32, version uint16, payload []byte) error {
	if len(payload) > maxFileSize {
		return fmt.Errorf("log: %s: %d bytes are too many for one file", filepath.Base(name), len(payload))
	}
	b := smallFile(magic, version, payload)
	temp := name + tempSuffix
	f, err := fsys.Create(temp)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return errors.Join(err, f.Close(), fsys.Remove(temp))
	}
	if err := syncFile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		return err
	}
	return syncDir(fsys, filepath.Dir(name))
}

// smallFile returns the bytes of a small file.
func smallFile(magic uint32, version uint16, payload []byte) []byte {
	b := make([]byte, fileHeader, fileHeader+len(payload))
	binary.BigEndian.PutUint32(b, magic)
	binary.BigEndian.PutUint16(b[4:], version)
	binary.BigEndian.PutUint32(b[fileLength:], uint32(len(payload)))
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b[fileCRC:], fileChecksum(b))
	return b
}

// writeUnsynced writes a small file that a crash may take, or tear: its checksum
// tells.
func writeUnsynced(fsys FS, name string, magic uint32, version uint16, payload []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(smallFile(magic, version, payload), 0)
	return errors.Join(err, f.Close())
}

// ReadFile returns the payload that [WriteFile] wrote. The error matches
// fs.ErrNotExist if there is no file, [ErrNewer] if its version is greater, and
// [ErrCorrupt] if it is not what was written.
func ReadFile(fsys FS, name string, magic uint32, version uint16) ([]byte, error) {
	b, err := readWhole(fsys, name, fileHeader+maxFileSize)
	if err != nil {
		return nil, err
	}
	bad := func(reason string) error {
		return &CorruptError{File: filepath.Base(name), Offset: -1, Reason: reason}
	}
	switch {
	case len(b) < fileHeader:
		return nil, bad("header")
	case binary.BigEndian.Uint32(b) != magic:
		return nil, bad("magic")
	case int64(binary.BigEndian.Uint32(b[fileLength:])) != int64(len(b)-fileHeader):
		return nil, bad("length")
	case binary.BigEndian.Uint32(b[fileCRC:]) != fileChecksum(b):
		return nil, bad("checksum")
	case binary.BigEndian.Uint16(b[4:]) > version:
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), ErrNewer)
	case binary.BigEndian.Uint16(b[6:]) != 0:
		return nil, bad("reserved bytes")
	}
	return b[fileHeader:], nil
}

func fileChecksum(b []byte) uint32 {
	head := checksum(b[:fileCRC])
	return updateChecksum(head, b[fileHeader:])
}

// readWhole reads a file of at most limit bytes.
func readWhole(fsys FS, name string, limit int64) ([]byte, error) {
	b, err := readPrefix(fsys, name, limit+1) // one that is longer has that byte
	if err == nil && int64(len(b)) > limit {
		return nil, &CorruptError{File: filepath.Base(name), Offset: -1, Reason: "size"}
	}
	return b, err
}

// readPrefix reads what a file begins with: limit bytes of it at most.
func readPrefix(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, limit))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}
