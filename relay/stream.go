package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// accept carries every connection that comes to the target. One too many is reset, not
// left to wait.
func (d *door) accept(l net.Listener) {
	for {
		near, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no descriptor is left: who comes meanwhile waits in the backlog
			d.r.cfg.Logger.Debug("accept on a relayed port", "port", d.to.words(), "err", err)
			if !d.rest() {
				return
			}
		case !enterBoth(&d.streams, &d.r.streams):
			abort(near)
		default:
			d.r.running.Go(func() {
				d.carry(near)
				d.streams.leave()
				d.r.streams.leave()
			})
		}
	}
}

// carry joins the connection with one to the target. It is reset when the target takes
// none, and when the target is gone.
func (d *door) carry(near net.Conn) {
	far, err := d.dial(d.r.cfg.Network.Dial)
	if err != nil {
		abort(near)
		d.r.cfg.Logger.Debug("relayed port is not served", "port", d.to.words(), "node", d.to.Node, "err", err)
		return
	}
	defer context.AfterFunc(d.life, func() { abort(near); abort(far) })()
	join(near, far)
}

// join carries bytes both ways, each until its sender ends it. How one side ends the
// other gets to see: a half-close as a half-close, a reset as a reset.
func join(a, b net.Conn) {
	var back sync.WaitGroup
	back.Go(func() { pass(a, b) })
	pass(b, a)
	back.Wait()
	a.Close()
	b.Close()
}

// pass carries one way. Between sockets of the kernel the bytes stay in it: io.Copy
// splices.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	if err != nil {
		abort(to)
		abort(from)
	}
}

// abort closes with a reset.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	c.Close()
}
