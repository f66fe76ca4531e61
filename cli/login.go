package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

const (
	// loginLimit bounds the file of a login, in bytes.
	loginLimit = 1 << 20
	// hostsFile is where a login notes the cluster's hosts, beside its certificates.
	hostsFile = "hosts"
	// archiveTLS is where certificates are in an archive of a context.
	archiveTLS = "tls/docker/"
)

// certificateFiles are what a client needs to be known, by name.
func certificateFiles() []string { return []string{"ca.pem", "cert.pem", "key.pem"} }

// orFile has docker's login take a file of "user add", too.
func (a *app) orFile(login *cobra.Command) {
	prepare, registry := login.PreRunE, login.RunE
	login.Use = "login [OPTIONS] [FILE|SERVER]"
	login.Short = "Use the cluster as the user of a file, or authenticate to a registry"
	login.Long = "Use the cluster as the user whose file \"ddocker user add\" wrote, \"-\" being standard\n" +
		"input: ddocker and docker, by its context \"ddocker\", do so from then on. It is\n" +
		"undone by \"ddocker context uninstall\".\n\n" +
		"With what is no file, authenticate to a registry, Docker Hub if none is named."
	login.Example = "  ddocker login alice.ddocker.tar\n  ssh root@gpu1 ddocker user add alice -o - | ddocker login -"
	login.ValidArgsFunction = nil // files
	login.PreRunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 && isFile(args[0]) {
			return nil
		}
		return prepare(c, args)
	}
	login.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 && isFile(args[0]) {
			return a.login(c.Context(), args[0])
		}
		return registry(c, args)
	}
}

// isFile says whether a file is meant and no registry, which has no such name.
func isFile(name string) bool {
	is, err := os.Stat(name)
	return name == "-" || strings.HasSuffix(name, ".tar") || err == nil && !is.IsDir()
}

func (a *app) login(ctx context.Context, file string) error {
	text, err := a.readLimited(file, loginLimit)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	hosts, user, files, err := readLogin(text)
	if err != nil {
		return fmt.Errorf("log in: %s is no file of \"ddocker user add\": %w", file, err)
	}
	own := a.ownDir()
	if err := os.MkdirAll(own, 0o700); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	trial, err := os.MkdirTemp(own, ".login-") // until it is known to be good
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	defer os.RemoveAll(trial)
	files[hostsFile] = []byte(hosts + "\n")
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(trial, name), content, 0o600); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
	}
	a.host, a.tried = hosts, trial
	if err := a.installContext(ctx); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	for name := range files {
		if err := os.Rename(filepath.Join(trial, name), filepath.Join(own, name)); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
	}
	fmt.Fprintf(a.Stdout, "ddocker now uses the cluster at %s, as %s\n", hosts, user)
	if a.Getenv("DDOCKER_HOST") != "" {
		fmt.Fprintln(a.Stderr, "WARNING: DDOCKER_HOST is set in the environment and goes before the login: unset it")
	}
	return nil
}

// readLogin reads the archive of a context: the hosts of its cluster, its user, and the
// files by which that is known there.
func readLogin(text []byte) (hosts, user string, files map[string][]byte, err error) {
	all := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			all[h.Name], err = io.ReadAll(r)
		}
		if err != nil {
			return "", "", nil, fmt.Errorf("read it as a tar archive: %v", err) // not wrapped: no connection broke off
		}
	}
	var meta struct {
		Metadata  struct{ Hosts string }
		Endpoints map[string]struct{ Host string }
	}
	if err := json.Unmarshal(all["meta.json"], &meta); err != nil {
		return "", "", nil, fmt.Errorf("read its meta.json: %w", err)
	}
	hosts = firstOf(meta.Metadata.Hosts, meta.Endpoints["docker"].Host)
	if hosts == "" {
		return "", "", nil, errors.New("it names no host")
	}
	if _, err := parseHosts(hosts); err != nil {
		return "", "", nil, err
	}
	files = map[string][]byte{}
	for _, name := range certificateFiles() {
		if files[name] = all[archiveTLS+name]; files[name] == nil {
			return "", "", nil, fmt.Errorf("it has no %s", name)
		}
	}
	pair, err := tls.X509KeyPair(files["cert.pem"], files["key.pem"])
	if err != nil {
		return "", "", nil, err
	}
	return hosts, pair.Leaf.Subject.CommonName, files, nil
}

// ownDir is where ddocker keeps what is the user's.
func (a *app) ownDir() string { return filepath.Join(a.Getenv("HOME"), ".ddocker") }

// loggedIn returns the hosts of the cluster that the user has logged in to; empty: none.
func (a *app) loggedIn() string {
	text, err := os.ReadFile(filepath.Join(a.ownDir(), hostsFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// logOut undoes login; not done: there was none.
func (a *app) logOut() (done bool, err error) {
	if a.loggedIn() == "" {
		return false, nil
	}
	for _, name := range append(certificateFiles(), hostsFile) {
		if err := os.Remove(filepath.Join(a.ownDir(), name)); err != nil && !os.IsNotExist(err) {
			return false, fmt.Errorf("end the login: %w", err)
		}
	}
	return true, nil
}
