package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/registry"
)

// hubServer is what "docker login" calls Docker Hub.
const hubServer = "https://index.docker.io/v1/"

// dockerConfig is what "docker login" leaves in docker's config.json.
type dockerConfig struct {
	Auths             map[string]registry.AuthConfig
	CredentialHelpers map[string]string `json:"credHelpers"` // by registry
	CredentialsStore  string            `json:"credsStore"`  // helper of all others
}

// registryAuth is the header with which an engine logs in at a registry as the
// user who runs the program. It is an empty login where the user has none, or none
// that can be told: most images are for everybody.
func (a *app) registryAuth(ctx context.Context, domain string) (string, error) {
	server := domain
	if domain == "docker.io" {
		server = hubServer
	}
	config, err := a.dockerConfig()
	if err != nil {
		return "", err
	}
	login := config.login(server)
	if helper := firstOf(config.CredentialHelpers[server], config.CredentialsStore); helper != "" {
		if login, err = askHelper(ctx, helper, server); err != nil {
			fmt.Fprintf(a.Stderr, "WARNING: going on without a login: %v\n", err)
		}
	}
	login.ServerAddress = server
	return registry.EncodeAuthConfig(login)
}

func (a *app) dockerConfig() (dockerConfig, error) {
	var config dockerConfig
	path := filepath.Join(firstOf(a.Getenv("DOCKER_CONFIG"), filepath.Join(a.Getenv("HOME"), ".docker")), "config.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config, nil
	}
	if err != nil {
		return config, fmt.Errorf("read the credentials of registries: %w", err)
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return config, fmt.Errorf("read the credentials of registries in %s: %w", path, err)
	}
	return config, nil
}

// login finds a registry's entry, which older programs wrote as a URL.
func (c dockerConfig) login(server string) registry.AuthConfig {
	found, ok := c.Auths[server]
	for _, key := range sortedKeys(c.Auths) {
		if !ok && hostOf(key) == hostOf(server) {
			found, ok = c.Auths[key], true
		}
	}
	if both, err := base64.StdEncoding.DecodeString(found.Auth); err == nil && found.Auth != "" {
		name, password, _ := strings.Cut(string(both), ":")
		found.Username, found.Password = name, strings.Trim(password, "\x00")
	}
	found.Auth = ""
	return found
}

// hostOf is the host of a registry's URL, or of what is one without its scheme.
func hostOf(server string) string {
	server = strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://")
	host, _, _ := strings.Cut(server, "/")
	return host
}

// askHelper runs one of docker's credential helpers. A helper that knows no login
// for the server is no error.
func askHelper(ctx context.Context, helper, server string) (login registry.AuthConfig, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, "docker-credential-"+helper, "get")
	c.Stdin = strings.NewReader(server)
	answer, err := c.Output()
	if bytes.Contains(answer, []byte("credentials not found")) {
		return login, nil
	}
	if err != nil {
		return login, fmt.Errorf("ask docker-credential-%s for the login at %s: %w %s", helper, server, err, bytes.TrimSpace(answer))
	}
	var found struct{ Username, Secret string }
	if err := json.Unmarshal(answer, &found); err != nil {
		return login, fmt.Errorf("understand docker-credential-%s: %w", helper, err)
	}
	if found.Username == "<token>" {
		return registry.AuthConfig{IdentityToken: found.Secret}, nil
	}
	return registry.AuthConfig{Username: found.Username, Password: found.Secret}, nil
}
