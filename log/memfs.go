package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

// A MemFS is a disk in memory. It keeps its files for as long as the value
// lives, so what was written can be opened again; it does not survive the
// process. Syncing is free, and a crash takes nothing.
type MemFS struct {
	mu    sync.Mutex // guards all below; file contents have locks of their own
	files map[string]*memFile
	dirs  map[string]bool
	locks map[string]bool // directories
}

// NewMemFS returns an empty disk.
func NewMemFS() *MemFS {
	return &MemFS{
		files: map[string]*memFile{},
		dirs:  map[string]bool{".": true, string(filepath.Separator): true},
		locks: map[string]bool{},
	}
}

func memError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

var errNotEmpty = errors.New("directory not empty")

// Open implements [FS].
func (m *MemFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[filepath.Clean(name)]
	if f == nil {
		return nil, memError("open", name, fs.ErrNotExist)
	}
	return &memHandle{file: f, name: name}, nil
}

// Create implements [FS].
func (m *MemFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path := filepath.Clean(name)
	if !m.dirs[filepath.Dir(path)] {
		return nil, memError("create", name, fs.ErrNotExist)
	}
	if m.dirs[path] {
		return nil, memError("create", name, fs.ErrExist)
	}
	f := m.files[path]
	if f == nil {
		f = &memFile{}
		m.files[path] = f
	}
	f.truncate(0)
	return &memHandle{file: f, name: name}, nil
}

// Rename implements [FS]. It renames files, not directories.
func (m *MemFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, b := filepath.Clean(from), filepath.Clean(to)
	f := m.files[a]
	if f == nil || !m.dirs[filepath.Dir(b)] {
		return memError("rename", from, fs.ErrNotExist)
	}
	if m.dirs[b] {
		return memError("rename", to, fs.ErrExist)
	}
	delete(m.files, a)
	m.files[b] = f
	return nil
}

// Remove implements [FS].
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	path := filepath.Clean(name)
	switch {
	case m.files[path] != nil:
		delete(m.files, path)
		return nil
	case !m.dirs[path]:
		return memError("remove", name, fs.ErrNotExist)
	case len(m.names(path)) > 0:
		return memError("remove", name, errNotEmpty)
	}
	delete(m.dirs, path)
	return nil
}

// MkdirAll implements [FS].
func (m *MemFS) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path := filepath.Clean(dir); !m.dirs[path]; path = filepath.Dir(path) {
		if m.files[path] != nil {
			return memError("mkdir", dir, fs.ErrExist)
		}
		m.dirs[path] = true
	}
	return nil
}

// ReadDir implements [FS].
func (m *MemFS) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path := filepath.Clean(dir)
	if !m.dirs[path] {
		return nil, memError("readdir", dir, fs.ErrNotExist)
	}
	return m.names(path), nil
}

// SyncDir implements [FS].
func (m *MemFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[filepath.Clean(dir)] {
		return memError("syncdir", dir, fs.ErrNotExist)
	}
	return nil
}

// Lock implements [Locker], for those who use this value.
func (m *MemFS) Lock(dir string) (unlock func() error, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path := filepath.Clean(dir)
	switch {
	case !m.dirs[path]:
		return nil, memError("lock", dir, fs.ErrNotExist)
	case m.locks[path]:
		return nil, &LockedError{Dir: dir, Holder: "this process"}
	}
	m.locks[path] = true
	return sync.OnceValue(func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, path)
		return nil
	}), nil
}

// names lists a directory in order; m.mu is held.
func (m *MemFS) names(dir string) []string {
	names := []string{}
	for path := range m.files {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	for path := range m.dirs {
		if path != dir && filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names
}

// memPage is the unit in which files grow. The first page begins small, so that
// a small file is.
const (
	memPage  = 256 << 10
	memFirst = 1 << 10
)

// A memFile is the contents of a file: pages, of which one that was never
// written is nil, and the first may be short. Both stand for zeros.
type memFile struct {
	mu    sync.RWMutex // guards all below
	pages [][]byte
	size  int64
}

// put writes p into page i, from at on; f.mu is held.
func (f *memFile) put(i int64, at int, p []byte) {
	for int64(len(f.pages)) <= i {
		f.pages = append(f.pages, nil)
	}
	old, n := f.pages[i], at+len(p)
	switch {
	case n <= len(old):
		copy(old[at:], p)
		return
	case len(p) == memPage:
		f.pages[i] = slices.Clone(p) // memory that is filled at once is not cleared first
		return
	}
	size := memPage
	if i == 0 {
		size = memFirst
		for size < n {
			size *= 2
		}
	}
	grown := make([]byte, size)
	copy(grown, old)
	copy(grown[at:], p)
	f.pages[i] = grown
}

func (f *memFile) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return // nothing was written there, so that the file ends where it did
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(p) > 0 {
		i, at := off/memPage, int(off%memPage)
		n := min(len(p), memPage-at)
		f.put(i, at, p[:n])
		p, off = p[n:], off+int64(n)
	}
	f.size = max(f.size, off)
}

func (f *memFile) readAt(p []byte, off int64) int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if off >= f.size {
		return 0
	}
	p = p[:min(int64(len(p)), f.size-off)]
	for rest := p; len(rest) > 0; {
		i, at := off/memPage, int(off%memPage)
		part := rest[:min(len(rest), memPage-at)]
		n := 0
		if i < int64(len(f.pages)) && at < len(f.pages[i]) {
			n = copy(part, f.pages[i][at:])
		}
		clear(part[n:])
		rest, off = rest[len(part):], off+int64(len(part))
	}
	return len(p)
}

// truncate drops what lies behind size, so that growing again finds zeros.
func (f *memFile) truncate(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size = size
	full := (size + memPage - 1) / memPage
	if int64(len(f.pages)) > full {
		clear(f.pages[full:])
		f.pages = f.pages[:full]
	}
	if at := int(size % memPage); at > 0 && int64(len(f.pages)) == full && at < len(f.pages[full-1]) {
		clear(f.pages[full-1][at:])
	}
}

// A memHandle is an open memFile.
type memHandle struct {
	file   *memFile
	name   string
	mu     sync.RWMutex // guards closed
	closed bool
}

func (h *memHandle) check(op string, off int64) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	switch {
	case h.closed:
		return memError(op, h.name, fs.ErrClosed)
	case off < 0:
		return memError(op, h.name, fmt.Errorf("negative offset %d", off))
	}
	return nil
}

func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.check("read", off); err != nil {
		return 0, err
	}
	n := h.file.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.check("write", off); err != nil {
		return 0, err
	}
	h.file.writeAt(p, off)
	return len(p), nil
}

func (h *memHandle) Truncate(size int64) error {
	if err := h.check("truncate", size); err != nil {
		return err
	}
	h.file.truncate(size)
	return nil
}

func (h *memHandle) Sync() error { return h.check("sync", 0) }

func (h *memHandle) Size() (int64, error) {
	if err := h.check("stat", 0); err != nil {
		return 0, err
	}
	h.file.mu.RLock()
	defer h.file.mu.RUnlock()
	return h.file.size, nil
}

func (h *memHandle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return memError("close", h.name, fs.ErrClosed)
	}
	h.closed = true
	return nil
}
