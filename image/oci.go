package image

import (
	"encoding/json"
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

// documents are the small JSON blobs of an archive, by their digest, as far as they
// lead from a name to an image.
type documents map[string]document

type document struct {
	config    string       // of a manifest
	manifests []descriptor // of an index
}

// add takes a document in and returns its digest. What is neither manifest nor
// index is not kept.
func (d documents) add(text []byte) string {
	id := digest.FromBytes(text).String()
	var m manifest
	if json.Unmarshal(text, &m) != nil {
		return id
	}
	switch {
	case m.Config != nil:
		d[id] = document{config: m.Config.Digest}
	case len(m.Manifests) > 0:
		d[id] = document{manifests: m.Manifests}
	}
	return id
}

// config follows a manifest or an index to the configuration of the image that is
// for this machine, or of the first. It is "" where that is not among the documents.
func (d documents) config(id string) string {
	for range 3 { // an index of an index is as deep as engines write
		doc := d[id]
		if doc.config != "" || len(doc.manifests) == 0 {
			return doc.config
		}
		there := slices.DeleteFunc(slices.Clone(doc.manifests), func(m descriptor) bool {
			_, kept := d[m.Digest]
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
func forHere(m descriptor) bool {
	return m.Platform != nil && m.Platform.OS == runtime.GOOS && m.Platform.Architecture == runtime.GOARCH
}
