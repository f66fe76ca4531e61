package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clusterOfUsers is an agent that gives users certificates.
func clusterOfUsers(t *testing.T) (g *agent, hashes chan string) {
	g, hashes = newAgent(t), make(chan string, 8)
	g.HandleFunc("POST /ddocker/users", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("name") == "taken" {
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"message":"user taken already exists"}`)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	g.HandleFunc("POST /ddocker/users/{name}/keys", func(w http.ResponseWriter, r *http.Request) {
		hashes <- r.URL.Query().Get("hash")
		json.NewEncoder(w).Encode(map[string]any{"CA": "the CA", "Addresses": []string{"10.0.0.1:7722", "10.0.0.2:7722"}})
	})
	return g, hashes
}

// unpacked returns the files of an archive.
func unpacked(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatalf("%v: %q", err, archive)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}

func TestUserAddWritesAContextWhoseKeyTheClusterKnows(t *testing.T) {
	g, hashes := clusterOfUsers(t)
	file := filepath.Join(t.TempDir(), "alice.tar")
	for how, args := range map[string][]string{"in a pipe": nil, "to standard output": {"-o", "-"}, "to a file": {"-o", file}, "that there is": {"-o", file}} {
		t.Run(how, func(t *testing.T) {
			name := "alice"
			if how == "that there is" {
				name = "taken"
			}
			got := g.runs(t, "", append([]string{"user", "add", name}, args...)...)
			if got.code != 0 {
				t.Fatalf("exit code %d: %s", got.code, got.stderr)
			}
			archive := []byte(got.stdout)
			if strings.Contains(how, "pipe") || strings.Contains(how, "output") {
			} else if text, err := os.ReadFile(file); err != nil {
				t.Fatal(err)
			} else if archive = text; strings.Count(got.stdout, "\n") != 2 || !strings.Contains(got.stdout, "ddocker login "+file) {
				t.Errorf("it says %q", got.stdout)
			}
			files := unpacked(t, archive)
			block, _ := pem.Decode([]byte(files["tls/docker/cert.pem"]))
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			if hash := <-hashes; hash != hex.EncodeToString(sum[:]) || cert.Subject.CommonName != name {
				t.Errorf("the cluster knows the key %s of %s", hash, cert.Subject.CommonName)
			}
			if files["tls/docker/ca.pem"] != "the CA" || !strings.Contains(files["meta.json"], `"Host":"tcp://10.0.0.1:7722"`) {
				t.Errorf("it has %q", files)
			}
		})
	}
	is, err := os.Stat(file)
	if err != nil || is.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v %v", is.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".ddocker-*")); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func TestUserVerbsAskForWhatTheySay(t *testing.T) {
	g, _ := clusterOfUsers(t)
	g.answers("GET /ddocker/users", http.StatusOK, `[{"Name":"alice","Role":"admin","By":"root","Keys":2},{"Name":"bob","Role":"user","Keys":0}]`)
	g.answers("DELETE /ddocker/users/bob", http.StatusNoContent, "")
	g.answers("DELETE /ddocker/users/nobody", http.StatusNotFound, `{"message":"No such user: nobody"}`)
	g.answers("POST /ddocker/users/bob/role", http.StatusNoContent, "")
	g.runs(t, "", "user", "ls").wants(t, 0, "NAME    ROLE    CERTIFICATES   ADDED BY\nalice   admin   2              root\nbob     user    0              -\n")
	g.runs(t, "", "user", "ls", "-q").wants(t, 0, "alice\nbob\n")
	g.runs(t, "", "user", "rm", "nobody", "bob").wants(t, 1, "bob\n", "Error: No such user: nobody\n")
	g.runs(t, "", "user", "role", "bob", "admin").wants(t, 0, "")
	if !g.was("POST /ddocker/users/bob/role?role=admin") {
		t.Errorf("it did %q", g.changes())
	}
	before := len(g.changes())
	g.runs(t, "", "user", "add", "carol", "-o", "/nowhere/carol.tar").wants(t, 1, "", "Error: write /nowhere/carol.tar: no such file or directory\n")
	if len(g.changes()) != before {
		t.Error("the cluster was asked for what cannot be written")
	}
	g.runs(t, "", "user", "add", "taken", "--role", "admin").wants(t, 1, "",
		"Error: user taken already exists: to change what it may do, use \"ddocker user role taken admin\"\n")
}

// knownTo is an agent over TLS, a file of a user there, and a home.
func knownTo(t *testing.T) (archive []byte, home, host string) {
	t.Helper()
	a := newAuthority(t)
	host = a.serves("ddocker://c/node/n1")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	signed, secret := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "alice"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	der, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.Raw})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if archive, err = contextArchive([]string{"tcp://127.0.0.1:1", "tcp://" + host}, ca, cert, key); err != nil {
		t.Fatal(err)
	}
	return archive, t.TempDir(), host
}

func TestLoginTakesTheFileForDdockerAndDocker(t *testing.T) {
	archive, home, host := knownTo(t)
	file := filepath.Join(home, "alice")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HOME": home}
	for _, args := range [][]string{{file}, {"-"}} {
		got := execute(t, bytes.NewReader(archive), env, append([]string{"login"}, args...)...)
		if got.code != 0 || !strings.Contains(got.stdout, "tcp://127.0.0.1:1,tcp://"+host+", as alice\n") {
			t.Fatalf("login %s: exit code %d, %s%s", args, got.code, got.stdout, got.stderr)
		}
		a := &app{Env: Env{Getenv: func(name string) string { return env[name] }}}
		if c, err := a.connect(); err != nil {
			t.Fatal(err)
		} else if _, err := c.nodes(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("ddocker does not use it: %v", err)
		}
		is, err := os.Stat(filepath.Join(home, ".ddocker", "key.pem"))
		if err != nil || is.Mode().Perm() != 0o600 {
			t.Errorf("others may read the key: %v %v", is, err)
		}
		if text, err := os.ReadFile(filepath.Join(home, ".docker", "config.json")); err != nil || !strings.Contains(string(text), `"currentContext": "ddocker"`) {
			t.Errorf("docker does not use it: %s %v", text, err)
		}
		execute(t, strings.NewReader(""), env, "context", "uninstall").wants(t, 0,
			"ddocker uses this machine's own agent again\ndocker's context \"ddocker\" is removed; docker uses \"default\"\n")
		if left, _ := os.ReadDir(filepath.Join(home, ".ddocker")); len(left) > 0 {
			t.Errorf("left are %v", left)
		}
	}
}

func TestLoginRefusesWhatIsNoFileOfAUser(t *testing.T) {
	archive, home, _ := knownTo(t)
	env := map[string]string{"HOME": home}
	half := bytes.Replace(archive, []byte("key.pem"), []byte("kay.pem"), 1)
	for text, want := range map[string]string{
		"":                                "is no file of \"ddocker user add\": read its meta.json",
		"hello":                           "read it as a tar archive",
		strings.Repeat("x", loginLimit+1): "has more than",
		string(archive[:700]):             "read it as a tar archive",
		string(half):                      "read it as a tar archive", // its checksum
	} {
		got := execute(t, strings.NewReader(text), env, "login", "-")
		if got.code != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("%.20q: exit code %d, %s", text, got.code, got.stderr)
		}
	}
	execute(t, strings.NewReader(""), env, "login", "nothere.tar").wants(t, 1, "", "Error: log in: open nothere.tar: no such file or directory\n")
	if left, _ := os.ReadDir(filepath.Join(home, ".ddocker")); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
