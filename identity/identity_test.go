package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdentityIsLoadedAsItWasCreated(t *testing.T) {
	ca := newCluster(t)
	dir := filepath.Join(t.TempDir(), "identity")
	made, err := Create(dir, signedBy(ca, Subject{NodeID: "n1", Life: time.Hour}))
	if err != nil {
		t.Fatal(err)
	}
	read, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if read.NodeID() != "n1" || read.Cluster() != ca.cluster || !bytes.Equal(read.Trust().Roots, ca.CertPEM()) {
		t.Errorf("loaded node %s of cluster %s", read.NodeID(), read.Cluster())
	}
	if !read.NotAfter().Equal(made.NotAfter()) || !read.NotBefore().Equal(made.NotBefore()) || !read.key.Equal(made.key) {
		t.Error("loaded another certificate or key")
	}
}

func TestIdentityIsReadableForItsOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, signedBy(newCluster(t), Subject{NodeID: "n1", Life: time.Hour})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"": 0o700 | fs.ModeDir, "ca.pem": 0o600, "cert.pem": 0o600, "key.pem": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%q has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 3 {
		t.Errorf("files left over: %v", files)
	}
}

func TestWithoutACertificateThereIsNoIdentity(t *testing.T) {
	ca := newCluster(t)
	dir := newNode(t, ca).dir
	if err := os.Remove(filepath.Join(dir, certFile)); err != nil { // as after a crash within Create
		t.Fatal(err)
	}
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load: %v", err)
	}
	if _, err := Create(dir, signedBy(ca, Subject{NodeID: "n2", Life: time.Hour})); err != nil {
		t.Errorf("Create over half an identity: %v", err)
	}
}

func TestCreateNeverReplacesAnIdentity(t *testing.T) {
	id := newNode(t, newCluster(t))
	_, err := Create(id.dir, func([]byte) ([]byte, Trust, error) {
		t.Error("a certificate was asked for")
		return nil, Trust{}, nil
	})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create: %v", err)
	}
}

func TestCreateSavesNothingUnlessThePartsFit(t *testing.T) {
	ca, other := newCluster(t), newCluster(t)
	refusal := errors.New("token used up")
	strange := newNode(t, ca)
	for name, c := range map[string]struct {
		cert, ca []byte
		err      error
		say      string
	}{
		"issue failed":            {err: refusal, say: "token used up"},
		"no certificate":          {ca: ca.CertPEM(), say: "no PEM certificate"},
		"authority of another":    {cert: renewal(t, ca, strange, time.Hour), ca: other.CertPEM(), say: "another key"},
		"no authority":            {cert: renewal(t, ca, strange, time.Hour), ca: renewal(t, ca, strange, time.Hour), say: "not the authority"},
		"key of another":          {cert: renewal(t, ca, strange, time.Hour), ca: ca.CertPEM(), say: "another key"},
		"the authority's own one": {cert: ca.CertPEM(), ca: ca.CertPEM(), say: "another key"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "identity")
			_, err := Create(dir, func([]byte) ([]byte, Trust, error) { return c.cert, Trust{Roots: c.ca}, c.err })
			wantErr(t, err, c.say)
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something was saved: %v", err)
			}
		})
	}
}

func TestRenewalIsSavedAndShown(t *testing.T) {
	ca := newCluster(t)
	id := newNode(t, ca)
	if err := id.Renew(renewal(t, ca, id, 48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(id.NotAfter()); left < 47*time.Hour {
		t.Errorf("%v left after renewal", left)
	}
	read, err := Load(id.dir)
	if err != nil {
		t.Fatal(err)
	}
	if !read.NotAfter().Equal(id.NotAfter()) {
		t.Errorf("disk holds a certificate until %v, want %v", read.NotAfter(), id.NotAfter())
	}
}

func TestARefusedRenewalChangesNothing(t *testing.T) {
	ca := newCluster(t)
	id := newNode(t, ca)
	csr, err := id.CSR()
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := ca.Sign(csr, Subject{NodeID: "somebody-else", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	was := id.NotAfter()
	for name, c := range map[string]struct {
		cert []byte
		say  string
	}{
		"nothing":         {nil, "no PEM certificate"},
		"another node":    {promoted, "it is for node somebody-else"},
		"another key":     {renewal(t, ca, newNode(t, ca), time.Hour), "another key"},
		"another cluster": {renewal(t, newCluster(t), id, time.Hour), "names no node of cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			wantErr(t, id.Renew(c.cert), c.say)
			if read, err := Load(id.dir); err != nil || !read.NotAfter().Equal(was) || !id.NotAfter().Equal(was) {
				t.Errorf("the certificate changed (%v)", err)
			}
		})
	}
}

func TestARenewalThatCannotBeSavedIsNotUsed(t *testing.T) {
	ca := newCluster(t)
	id := newNode(t, ca)
	was := id.NotAfter()
	if err := os.RemoveAll(id.dir); err != nil {
		t.Fatal(err)
	}
	if err := id.Renew(renewal(t, ca, id, 48*time.Hour)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Renew: %v", err)
	}
	if !id.NotAfter().Equal(was) {
		t.Error("the unsaved certificate is in use")
	}
}

func TestAnExpiredIdentityLoadsAndRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCluster(t)
		id := newNodeAs(t, ca, Subject{NodeID: "n1", Life: time.Hour})
		late := renewal(t, ca, id, time.Minute)
		time.Sleep(2 * time.Hour)
		read, err := Load(id.dir)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, read.Renew(late), "do the clocks differ?")
		if err := read.Renew(renewal(t, ca, read, time.Hour)); err != nil {
			t.Error(err)
		}
	})
}
