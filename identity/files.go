package identity

import (
	"fmt"
	"os"
	"path/filepath"
)

// The names that docker looks for in DOCKER_CERT_PATH.
const (
	caFile   = "ca.pem"
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// linksFile holds what a node shows beside, see [Trust].
const linksFile = "links.pem"

// save writes the certificate last: without it there is no identity, so a
// crash in between leaves none rather than half of one.
func (i *Identity) save() error {
	key, err := encodeKey(i.key)
	if err != nil {
		return err
	}
	if err := makeDir(i.dir); err != nil {
		return err
	}
	if err := writeFile(i.dir, keyFile, key); err != nil {
		return err
	}
	s := i.standing.Load()
	if err := saveTrust(i.dir, s.trust); err != nil {
		return err
	}
	return writeFile(i.dir, certFile, encodeCert(s.leaf.Raw))
}

// makeDir makes dir, durably and closed to others even if it was there before.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// writeFile replaces the file name in dir: after a crash it holds either the
// old bytes or the new, and once writeFile returned, the new.
func writeFile(dir, name string, data []byte) error {
	f, err := os.CreateTemp(dir, "."+name+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once the file is renamed, as it should
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
