package image

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Media types of what goes into an OCI layout.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// descriptor names a blob. What nobody here needs is kept as it came.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *platform         `json:"platform,omitempty"`
	URLs         json.RawMessage   `json:"urls,omitempty"`
	Data         json.RawMessage   `json:"data,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

type platform struct {
	Architecture string          `json:"architecture"`
	OS           string          `json:"os"`
	OSVersion    string          `json:"os.version,omitempty"`
	OSFeatures   json.RawMessage `json:"os.features,omitempty"`
	Variant      string          `json:"variant,omitempty"`
}

// manifest is what makes an image of blobs; or, with Manifests, an index of such.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

// maxDocuments bounds the JSON of one archive, in bytes: thousands of images.
const maxDocuments = 64 << 20

// documents are the small JSON blobs of an archive, as far as they lead from a name
// to an image.
type documents struct {
	read int // bytes of JSON
	by   map[string]document
}

// document has a manifest's configuration, or the manifests of an index.
type document struct {
	config    string
	manifests []pointer
}

// pointer is what of a descriptor leads to an image.
type pointer struct {
	Digest   string
	Platform *struct{ OS, Architecture string }
}

// add takes a document in and returns its digest. What is neither manifest nor
// index is not kept.
func (d *documents) add(text []byte) (id string, err error) {
	if d.read += len(text); d.read > maxDocuments {
		return "", fmt.Errorf("with it the archive has more than %d bytes of JSON", maxDocuments)
	}
	id = digest.FromBytes(text).String()
	var m struct {
		Config    *pointer
		Manifests []pointer
	}
	if json.Unmarshal(text, &m) != nil {
		return id, nil
	}
	m.Manifests = slices.DeleteFunc(m.Manifests, func(p pointer) bool { return digest.Digest(p.Digest).Validate() != nil })
	switch {
	case m.Config != nil:
		d.by[id] = document{config: m.Config.Digest}
	case len(m.Manifests) > 0:
		d.by[id] = document{manifests: slices.Clone(m.Manifests)}
	}
	return id, nil
}

// config follows a manifest or an index to the configuration of the image that is
// for this machine, or of the first. It is "" where that is not among the documents.
func (d *documents) config(id string) string {
	for range 3 { // an index of an index is as deep as engines write
		doc := d.by[id]
		if doc.config != "" || len(doc.manifests) == 0 {
			return doc.config
		}
		there := slices.DeleteFunc(slices.Clone(doc.manifests), func(m pointer) bool {
			_, kept := d.by[m.Digest]
			return !kept || m.Platform != nil && m.Platform.OS == "unknown" // an attestation
		})
		if len(there) == 0 {
			return ""
		}
		id = there[max(0, slices.IndexFunc(there, forHere))].Digest
	}
	return ""
}

// forHere says that an image is for machines like this one.
func forHere(m pointer) bool {
	return m.Platform != nil && m.Platform.OS == runtime.GOOS && m.Platform.Architecture == runtime.GOARCH
}
