package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// replaceFile writes a file, readable by its owner alone, as a whole or not at
// all: what was at path stays until fill has succeeded. It refuses to replace
// anything but a regular file.
func replaceFile(path string, fill func(io.Writer) error) error {
	path, err := destination(path)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name()) // in vain once it is renamed
	err = fill(file)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	return err
}

// destination follows symbolic links to the file that is meant.
func destination(path string) (string, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	switch at, err := os.Stat(path); {
	case os.IsNotExist(err):
		return path, nil
	case err != nil:
		return "", fmt.Errorf("write %s: %w", path, err)
	case at.IsDir():
		return "", fmt.Errorf("%s is a directory: name a file", path)
	case !at.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file: redirect standard output instead", path)
	}
	return path, nil
}
