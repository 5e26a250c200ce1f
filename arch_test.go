package samsa

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/samsalog/samsa"

// arrows lists, for each top-level folder, what of this module its non-test
// files may import beside their own folder: a folder, or one package of it. A
// package with a line of its own may import that and no more. An arrow that is
// not here is a bug in the design: talk before adding it.
var arrows = map[string][]string{
	"log":            {},
	"transport":      {},
	"transport/wire": {},
	"partition":      {"log", "transport/wire"},
	"replica":        {"log", "partition", "transport/wire"},
	"offsets":        {"log", "partition", "transport/wire"},
	"group":          {"log", "partition", "offsets", "transport/wire"},
	".":              {"log", "partition", "replica", "offsets", "group", "transport"},
	"samsatest":      {".", "log", "partition", "replica", "offsets", "group", "transport"},
	"examples":       {".", "samsatest", "transport", "log"},
}

// shells are the packages and files of the protocol folders that may touch the
// outside world. Every other file there is pure, those of *test packages apart.
var shells = []string{
	"partition/produce", "replica/node", "replica/quorum", "group/consume",
	"offsets/store.go", "group/service.go",
}

// impure holds for the packages below each of these too.
var impure = []string{
	"context", "crypto/rand", "hash/maphash", "io/fs", "log", "math/rand", "net", "os", "runtime", "sync", "syscall",
}

func TestArrows(t *testing.T) {
	eachFile(t, func(file, folder string, f *ast.File) {
		from := path.Dir(file)
		if _, own := arrows[from]; !own {
			from = folder
		}
		allowed, known := arrows[from]
		if !known {
			t.Errorf("%s: folder %q is not in arrows", file, folder)
		}
		for _, imp := range imports(f) {
			to, inside := ours(imp)
			if !inside {
				continue
			}
			own := topFolder(to) == from
			if !own && !slices.Contains(allowed, to) && !slices.Contains(allowed, topFolder(to)) {
				t.Errorf("%s imports %s: no arrow from %s to %s", file, imp, from, to)
			}
		}
	})
}

// What a parser cannot see is a map range whose order reaches an output: that
// needs types, and judgement. The simulator sees it: it runs each seed twice
// and compares the traces.
func TestProtocolFilesArePure(t *testing.T) {
	protocol := []string{"partition", "replica", "group", "offsets"}
	eachFile(t, func(file, folder string, f *ast.File) {
		dir := path.Dir(file)
		if !slices.Contains(protocol, folder) || strings.HasSuffix(dir, "test") ||
			slices.Contains(shells, dir) || slices.Contains(shells, file) {
			return
		}
		for _, imp := range imports(f) {
			to, inside := ours(imp)
			switch {
			case inside && slices.Contains(shells, to):
				t.Errorf("%s imports the shell %s", file, imp)
			case !inside && slices.ContainsFunc(impure, func(p string) bool { return imp == p || strings.HasPrefix(imp, p+"/") }):
				t.Errorf("%s imports %s", file, imp)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", file)
			case *ast.ChanType:
				t.Errorf("%s makes or takes a channel", file)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(
					[]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, n.Sel.Name) {
					t.Errorf("%s reads the clock with time.%s", file, n.Sel.Name)
				}
			}
			return true
		})
	})
}

// A library is a guest in its process: it takes no signals, flags or standard log
// for itself, does not end its host, and does nothing before it is asked to.
func TestLibraryIsAGoodGuest(t *testing.T) {
	forbidden := []string{"os/signal", "flag", "log", "expvar", "net/http/pprof"}
	eachFile(t, func(file, folder string, f *ast.File) {
		if folder == "examples" {
			return
		}
		for _, imp := range imports(f) {
			if slices.Contains(forbidden, imp) {
				t.Errorf("%s imports %s", file, imp)
			}
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init", file)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "os" && sel.Sel.Name == "Exit" {
					t.Errorf("%s ends its host", file)
				}
			}
			return true
		})
	})
}

// Files are to have 400 lines at most; one past the limit has two subjects. Split it by
// subject, not by length.
func TestFilesAreShort(t *testing.T) {
	const limit = 450
	eachFile(t, func(file, _ string, f *ast.File) {
		if n := fset.Position(f.FileEnd).Line; n > limit {
			t.Errorf("%s has %d lines; the limit is %d", file, n, limit)
		}
	})
}

// The root joins the packages below it, and does nothing that one of them can do.
func TestTheRootIsThin(t *testing.T) {
	const limit = 3000
	lines := 0
	eachFile(t, func(_, folder string, f *ast.File) {
		if folder == "." {
			lines += fset.Position(f.FileEnd).Line - 1
		}
	})
	if lines > limit {
		t.Errorf("the root package has %d lines; the limit is %d", lines, limit)
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	docs := make(map[string]int) // by directory
	eachFile(t, func(file, _ string, f *ast.File) {
		dir := path.Dir(file)
		docs[dir] += 0
		if f.Doc != nil {
			docs[dir]++
		}
	})
	for dir, n := range docs {
		if n != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, n)
		}
	}
}

var fset = token.NewFileSet()

// eachFile parses every non-test Go file of this module and calls fn with its
// path, its top-level folder, and its syntax. Nested modules are not ours.
func eachFile(t *testing.T, fn func(file, folder string, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || isModule(file)):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		fn(file, topFolder(path.Dir(file)), f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func imports(f *ast.File) []string {
	var paths []string
	for _, spec := range f.Imports {
		imp, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, imp)
	}
	return paths
}

// ours returns an import path's folder in this module; "." is the root.
func ours(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// topFolder returns the first element of a folder's path.
func topFolder(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}
