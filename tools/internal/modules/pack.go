package modules

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// license is the file of the root that every pack carries.
const license = "LICENSE"

// Pack writes m into folder as a file proxy has it.
func (m *Module) Pack(folder, version string) error {
	escaped, err := module.EscapePath(m.Path())
	if err != nil {
		return err
	}
	at := filepath.Join(folder, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	mod, err := os.ReadFile(m.file("go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Unix(0, 0).UTC()})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"list": []byte(version + "\n"), version + ".info": info, version + ".mod": mod} {
		if err := os.WriteFile(filepath.Join(at, name), data, 0o644); err != nil {
			return err
		}
	}
	packed, err := os.Create(filepath.Join(at, version+".zip"))
	if err != nil {
		return err
	}
	return errors.Join(m.zip(packed, version), packed.Close())
}

// zip writes what a proxy would make of the tag: the files of the module's folder, without the modules
// below it, and the license of the root where the folder has none.
func (m *Module) zip(to io.Writer, version string) error {
	dir := filepath.Join(m.Root, filepath.FromSlash(m.Dir))
	checked, err := zip.CheckDir(dir)
	if err != nil {
		return err
	}
	var files []zip.File
	own := false
	for _, place := range checked.Valid {
		name, err := filepath.Rel(dir, place)
		if err != nil {
			return err
		}
		files = append(files, file{filepath.ToSlash(name), place})
		own = own || name == license
	}
	if !own {
		files = append(files, file{license, filepath.Join(m.Root, license)})
	}
	return zip.Create(to, module.Version{Path: m.Path(), Version: version}, files)
}

// file is one of a pack: its name there, and where it is.
type file struct{ name, place string }

func (f file) Path() string                 { return f.name }
func (f file) Lstat() (os.FileInfo, error)  { return os.Lstat(f.place) }
func (f file) Open() (io.ReadCloser, error) { return os.Open(f.place) }

// hashMod is the sum of a go.mod by itself.
func hashMod(name string) (string, error) {
	return dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return os.Open(name) })
}
