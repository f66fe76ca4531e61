package image

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	units "github.com/docker/go-units"
)

var (
	// errStalled says that a holder sent nothing for stallTimeout.
	errStalled = fmt.Errorf("nothing came for %s", stallTimeout)
	// errLeft ends the work that nobody waits for any more.
	errLeft = errors.New("nobody waits for the image any more")
	// errStopped ends the work when this host's agent stops.
	errStopped = errors.New("the agent stops")
	// errArchiveClosed tells the packer that the engine reads no more.
	errArchiveClosed = errors.New("the engine reads no more")
)

// NoRoomError says that the missing layers of an image do not fit on the disk of
// this host's engine. Both are bytes.
type NoRoomError struct{ Need, Free int64 }

// Error tells both sizes.
func (e *NoRoomError) Error() string {
	return fmt.Sprintf("the disk of the engine here has %s free, and bringing the image needs %s: see \"ddocker images\" for what may go",
		units.HumanSize(float64(e.Free)), units.HumanSize(float64(e.Need)))
}

// HoldersError says that an image could not be had from anybody.
type HoldersError struct {
	// ID is the image's.
	ID string
	// Failures tell who was asked and what came of it, in the order of the last
	// tries. None: nobody is known to hold the image.
	Failures []HolderFailure
}

// HolderFailure is how one node failed to give an image.
type HolderFailure struct {
	Node string
	Err  error
}

// Error names each holder and what went wrong with it.
func (e *HoldersError) Error() string {
	if len(e.Failures) == 0 {
		return fmt.Sprintf("no host that answers has image %s: see \"ddocker nodes\"", short(e.ID))
	}
	reasons := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		reasons[i] = fmt.Sprintf("node %s: %v", f.Node, f.Err)
	}
	return fmt.Sprintf("no host could give image %s: %s", short(e.ID), strings.Join(reasons, "; "))
}

// Unwrap returns the holders' errors.
func (e *HoldersError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// lieError says that a node gave what cannot be true: it is not asked again.
type lieError struct{ what string }

func (e *lieError) Error() string { return e.what }

func lie(format string, args ...any) error { return &lieError{fmt.Sprintf(format, args...)} }

// damagedError says that a layer that came whole is not the layer that was asked
// for. The load that it went into is spoilt; another may be begun.
type damagedError struct{ layer, got string }

func (e *damagedError) Error() string {
	return fmt.Sprintf("layer %s came damaged: its bytes are %s", short(e.layer), short(e.got))
}

// disputedError says that the holders that are left tell other sizes than the one
// that described the image. Another may describe it.
type disputedError struct{ err error }

func (e *disputedError) Error() string { return e.err.Error() }
func (e *disputedError) Unwrap() error { return e.err }

// short returns what people see of a digest.
func short(digest string) string {
	_, hex, found := strings.Cut(digest, ":")
	if found && len(hex) > 12 {
		return hex[:12]
	}
	return digest
}

// fullDisk knows the error of an engine whose disk is full. It comes as text.
func fullDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) ||
		strings.Contains(err.Error(), syscall.EDQUOT.Error())
}
