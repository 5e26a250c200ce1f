package logtest

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/samsalog/samsa/log"
)

// RunFS checks that a disk keeps the contract of [log.FS], crashes aside, and that
// of [log.Locker] if it is one. open returns an empty one, and the directory on it to work in.
func RunFS(t *testing.T, open func(t *testing.T) (fsys log.FS, dir string)) {
	for _, c := range []struct {
		name string
		run  func(f fixture)
	}{
		{"a name that is not there is ErrNotExist in every call", fixture.absent},
		{"a file holds what was written, and zeros where nothing was", fixture.write},
		{"truncate cuts, and grows with zeros", fixture.truncate},
		{"create empties the file that is there", fixture.create},
		{"rename replaces, and open handles stay with their file", fixture.rename},
		{"a removed file is still there for who has it open", fixture.remove},
		{"a name that is taken away and made anew is another file", fixture.anew},
		{"handles of one file see each other's writes", fixture.shared},
		{"reads beside writes see what was written before them", fixture.beside},
		{"a directory lists its names in order, and goes when empty", fixture.directory},
		{"a directory is no file, and a file no directory", fixture.kinds},
		{"below zero there is nothing", fixture.negative},
		{"a closed file fails", fixture.closed},
		{"a locked directory is nobody else's until it is unlocked", fixture.lock},
		{"of many who lock a directory at once one gets it", fixture.race},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys, dir := open(t)
			f := fixture{t, fsys, filepath.Join(dir, "a", "b")}
			f.ok(fsys.MkdirAll(f.dir))
			f.ok(fsys.MkdirAll(f.dir))
			c.run(f)
		})
	}
}

// A fixture is one case of RunFS.
type fixture struct {
	*testing.T
	fsys log.FS
	dir  string
}

func (f fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f fixture) made(name, contents string) log.File {
	f.Helper()
	file, err := f.fsys.Create(f.path(name))
	f.ok(err)
	n, err := file.WriteAt([]byte(contents), 0)
	f.ok(err)
	if n != len(contents) {
		f.Fatalf("wrote %d bytes of %d", n, len(contents))
	}
	f.ok(file.Sync())
	f.ok(f.fsys.SyncDir(f.dir))
	return file
}

func (f fixture) holds(file log.File, want string) {
	f.Helper()
	size, err := file.Size()
	f.ok(err)
	got := make([]byte, size)
	if _, err := file.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
		f.Fatal(err)
	}
	if string(got) != want {
		f.Fatalf("the file holds %q; want %q", got, want)
	}
}

func (f fixture) reads(name, want string) {
	f.Helper()
	file, err := f.fsys.Open(f.path(name))
	f.ok(err)
	f.holds(file, want)
	f.ok(file.Close())
}

func (f fixture) absent() {
	_, openErr := f.fsys.Open(f.path("none"))
	_, dirErr := f.fsys.ReadDir(f.path("none"))
	_, createErr := f.fsys.Create(f.path("none/file"))
	for call, err := range map[string]error{
		"Open": openErr, "ReadDir": dirErr, "Create": createErr,
		"Remove": f.fsys.Remove(f.path("none")),
		"Rename": f.fsys.Rename(f.path("none"), f.path("other")),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			f.Errorf("%s returns %v; want fs.ErrNotExist", call, err)
		}
	}
}

func (f fixture) write() {
	file := f.made("x", "hello")
	defer file.Close()
	_, err := file.WriteAt([]byte("!"), 7)
	f.ok(err)
	f.holds(file, "hello\x00\x00!")
	f.reads("x", "hello\x00\x00!")
	_, err = file.WriteAt(nil, 1000)
	f.ok(err)
	f.holds(file, "hello\x00\x00!")
	b := make([]byte, 4)
	if n, err := file.ReadAt(b, 6); n != 2 || !errors.Is(err, io.EOF) {
		f.Errorf("a read over the end returns %d, %v; want 2, EOF", n, err)
	}
	if n, err := file.ReadAt(b, 100); n != 0 || !errors.Is(err, io.EOF) {
		f.Errorf("a read behind the end returns %d, %v; want 0, EOF", n, err)
	}
	const far = 200_000
	_, err = file.WriteAt([]byte("z"), far)
	f.ok(err)
	if _, err = file.ReadAt(b, far-3); err != nil || string(b) != "\x00\x00\x00z" {
		f.Errorf("far behind the end: %q, %v", b, err)
	}
}

func (f fixture) truncate() {
	file := f.made("x", "hello")
	defer file.Close()
	f.ok(file.Truncate(2))
	f.holds(file, "he")
	f.ok(file.Truncate(6))
	f.holds(file, "he\x00\x00\x00\x00")
}

func (f fixture) create() {
	f.ok(f.made("x", "hello").Close())
	f.ok(f.made("x", "ho").Close())
	f.reads("x", "ho")
}

func (f fixture) rename() {
	one, two := f.made("one", "1"), f.made("two", "2")
	f.ok(f.fsys.Rename(f.path("one"), f.path("two")))
	f.ok(f.fsys.SyncDir(f.dir))
	f.reads("two", "1")
	f.holds(one, "1")
	f.holds(two, "2")
	_, err := two.WriteAt([]byte("X"), 0)
	f.ok(err)
	_, err = one.WriteAt([]byte("!"), 1)
	f.ok(err)
	f.holds(two, "X")
	f.reads("two", "1!")
	f.ok(f.fsys.Rename(f.path("two"), f.path("two")))
	f.reads("two", "1!")
	f.ok(one.Close())
	f.ok(two.Close())
	names, err := f.fsys.ReadDir(f.dir)
	f.ok(err)
	if !slices.Equal(names, []string{"two"}) {
		f.Errorf("the directory holds %q", names)
	}
}

func (f fixture) remove() {
	file := f.made("x", "hello")
	f.ok(f.fsys.Remove(f.path("x")))
	if _, err := f.fsys.Open(f.path("x")); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("opening it returns %v; want fs.ErrNotExist", err)
	}
	f.holds(file, "hello")
	f.ok(file.Close())
}

func (f fixture) directory() {
	for _, name := range []string{"c", "a", "b"} {
		f.ok(f.made(name, name).Close())
	}
	f.ok(f.fsys.MkdirAll(f.path("aa")))
	names, err := f.fsys.ReadDir(f.dir)
	f.ok(err)
	if want := []string{"a", "aa", "b", "c"}; !slices.Equal(names, want) {
		f.Errorf("the directory holds %q; want %q", names, want)
	}
	if err := f.fsys.Remove(f.dir); err == nil {
		f.Error("a directory with files in it was removed")
	}
	f.reads("c", "c")
	f.ok(f.fsys.Remove(f.path("aa")))
	for _, name := range []string{"c", "a", "b"} {
		f.ok(f.fsys.Remove(f.path(name)))
	}
	f.ok(f.fsys.Remove(f.dir))
	if _, err := f.fsys.ReadDir(f.dir); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("the directory is gone, and listing it returns %v; want fs.ErrNotExist", err)
	}
}

func (f fixture) closed() {
	file := f.made("x", "hello")
	f.ok(file.Close())
	_, read := file.ReadAt(make([]byte, 1), 0)
	_, write := file.WriteAt([]byte("x"), 0)
	_, size := file.Size()
	for call, err := range map[string]error{
		"ReadAt": read, "WriteAt": write, "Sync": file.Sync(), "Truncate": file.Truncate(0), "Size": size, "Close": file.Close(),
	} {
		if err == nil {
			f.Errorf("%s of a closed file succeeds", call)
		}
	}
}
