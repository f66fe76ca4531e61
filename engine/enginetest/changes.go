package enginetest

import (
	"archive/tar"
	"bytes"
	"net/http"
	"path"

	"github.com/docker/docker/api/types/container"
)

// putArchive is PUT /containers/{id}/archive. Of what comes only the names are kept.
func (t *Twin) putArchive(c call, b *box) reply {
	for in := tar.NewReader(bytes.NewReader(c.body)); ; {
		h, err := in.Next()
		if err != nil {
			return reply{http.StatusOK, nil}
		}
		b.written = append(b.written, path.Join("/", c.FormValue("path"), h.Name))
	}
}

// changes is GET /containers/{id}/changes.
func (t *Twin) changes(_ call, b *box) reply {
	var list []container.FilesystemChange
	for _, name := range b.written {
		list = append(list, container.FilesystemChange{Path: name, Kind: container.ChangeAdd})
	}
	return reply{http.StatusOK, list}
}
