package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// clockSlack is how far behind a host's clock may be for a new certificate to be good.
const clockSlack = time.Hour

func newUser(a *app) *cobra.Command {
	role, out, life := "user", "", 365*24*time.Hour
	add := &cobra.Command{
		Use:   "add [OPTIONS] NAME",
		Short: "Add a user, or give one another certificate",
		Long: "Add a user of the cluster and write a context of docker's with a certificate that\n" +
			"speaks for it, to use the cluster from any machine. Whoever has the file is that\n" +
			"user, until \"ddocker user rm\". A user that there is gets one more certificate.",
		Example:           "  ddocker user add alice -o alice.tar\n  ddocker login alice.tar\n  docker context import ddocker alice.tar",
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, args []string) error { return a.addUser(c, args[0], role, out, life) },
	}
	add.Flags().StringVar(&role, "role", role, "What it may do: \"user\" touches its own, \"admin\" everything")
	add.Flags().StringVarP(&out, "output", "o", "", "File for the context, \"-\" for standard output (default NAME.ddocker.tar on a terminal, else \"-\")")
	add.Flags().DurationVar(&life, "life", life, "How long the certificate is good")
	list := &listing{}
	ls := &cobra.Command{
		Use: "ls [OPTIONS]", Short: "List the users",
		Args: arguments(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error { return a.users(c.Context(), *list) },
	}
	list.flags(ls, "Only display names")
	rm := &cobra.Command{
		Use: "rm NAME [NAME...]", Short: "Remove users: their certificates are good for nothing at once",
		Args: arguments(1, -1), ValidArgsFunction: a.completeNames(0, userNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.eachDone(c.Context(), args, http.MethodDelete, "/ddocker/users/%s")
		},
	}
	change := &cobra.Command{
		Use: "role NAME user|admin", Short: "Say what a user may do",
		Args: arguments(2, 2), ValidArgsFunction: a.completeNames(1, userNames),
		RunE: func(c *cobra.Command, args []string) error {
			cluster, err := a.connect()
			if err == nil {
				_, err = cluster.read(c.Context(), http.MethodPost, "/ddocker/users/"+args[0]+"/role", url.Values{"role": {args[1]}}, nil)
			}
			return err
		},
	}
	return newGroup("user", "Manage who may use the cluster", add, ls, rm, change)
}

func (a *app) addUser(c *cobra.Command, name, role, out string, life time.Duration) error {
	if out == "" && isTerminal(a.Stdout) {
		out = name + ".ddocker.tar"
	}
	file, err := newFile(out) // before the cluster knows of what could not be written then
	if err != nil {
		return err
	}
	defer file.discard()
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	_, err = cluster.read(c.Context(), http.MethodPost, "/ddocker/users", url.Values{"name": {name}, "role": {role}}, nil)
	var refused *apiError
	if there := errors.As(err, &refused) && refused.status == http.StatusConflict; there && c.Flags().Changed("role") {
		return fmt.Errorf("%w: to change what it may do, use \"ddocker user role %s %s\"", err, name, role)
	} else if err != nil && !there {
		return err
	}
	archive, err := cluster.certify(c.Context(), name, life)
	if err != nil {
		return err
	}
	if file == nil {
		_, err = a.Stdout.Write(archive)
		return err
	}
	if err := file.keep(archive); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "%s speaks for %s for %s. Where it is to be used:\n  ddocker login %s    or, with plain docker: docker context import %s %s\n",
		out, name, units.HumanDuration(life), out, contextName, out)
	return nil
}

// certify gives a user a new certificate, and returns the archive of a context with it.
func (cluster *connection) certify(ctx context.Context, name string, life time.Duration) ([]byte, error) {
	cert, key, hash, err := selfSigned(name, life)
	if err != nil {
		return nil, err
	}
	var told struct {
		CA        string
		Addresses []string
	}
	path := "/ddocker/users/" + name + "/keys"
	if err := cluster.decode(ctx, http.MethodPost, path, url.Values{"hash": {hash}, "life": {life.String()}}, &told); err != nil {
		return nil, err
	}
	if len(told.Addresses) == 0 {
		return nil, errors.New("the cluster does not know the address of any host yet: try again in a moment")
	}
	for i, address := range told.Addresses {
		told.Addresses[i] = "tcp://" + address
	}
	return contextArchive(told.Addresses, []byte(told.CA), cert, key)
}

// secretFile is a file that only its owner reads, which is there when it is complete.
type secretFile struct {
	*os.File
	name string
}

// newFile begins one; nil: it is standard output that is meant.
func newFile(name string) (*secretFile, error) {
	if name == "" || name == "-" {
		return nil, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".ddocker-")
	if err != nil {
		var why *os.PathError // of a name that nobody knows
		errors.As(err, &why)
		return nil, fmt.Errorf("write %s: %w", name, why.Err)
	}
	return &secretFile{f, name}, nil
}

func (f *secretFile) keep(text []byte) error {
	_, err := f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), f.name)
}

// discard removes what is not kept.
func (f *secretFile) discard() {
	if f != nil {
		f.Close() // of a file that is kept it fails, as it should
		os.Remove(f.Name())
	}
}

// selfSigned makes a certificate for a user. Nobody vouches for it: the cluster knows its
// key by the hash.
func selfSigned(name string, life time.Duration) (certPEM, keyPEM []byte, hash string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, "", err
	}
	now := time.Now()
	about := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		return nil, nil, "", err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	sum := sha256.Sum256(spki)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), hex.EncodeToString(sum[:]), err
}

// contextArchive writes a context as "docker context import" reads it. docker knows one
// host alone, ddocker's login all of them.
func contextArchive(hosts []string, ca, cert, key []byte) ([]byte, error) {
	meta, err := json.Marshal(map[string]any{
		"Name": contextName, "Metadata": map[string]any{"Description": contextText, "Hosts": strings.Join(hosts, ",")},
		"Endpoints": map[string]any{"docker": map[string]any{"Host": hosts[0], "SkipTLSVerify": false}},
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		text []byte
	}{{"meta.json", meta}, {archiveTLS + "ca.pem", ca}, {archiveTLS + "cert.pem", cert}, {archiveTLS + "key.pem", key}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.text))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes(), err
}

// knownUser is a user as /ddocker/users tells of it.
type knownUser struct {
	Name, Role, By string
	Keys           int
}

// userRow is one user as templates and --format json see it.
type userRow struct{ By, Certificates, Name, Role string }

func (a *app) users(ctx context.Context, l listing) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	var known []knownUser
	if err := cluster.get(ctx, "/ddocker/users", nil, &known); err != nil {
		return err
	}
	rows := make([]userRow, len(known))
	for i, u := range known {
		rows[i] = userRow{firstOf(u.By, "-"), strconv.Itoa(u.Keys), u.Name, u.Role}
	}
	return write(a.Stdout, table{
		columns: "{{.Name}}\t{{.Role}}\t{{.Certificates}}\t{{.By}}",
		quiet:   "{{.Name}}",
		titles:  titles{"By": "ADDED BY", "Certificates": "CERTIFICATES", "Name": "NAME", "Role": "ROLE"},
	}, l, rows)
}

func userNames(ctx context.Context, c *connection) ([]string, error) {
	var known []knownUser
	err := c.get(ctx, "/ddocker/users", nil, &known)
	names := make([]string, len(known))
	for i, u := range known {
		names[i] = u.Name
	}
	return names, err
}
