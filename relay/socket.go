package relay

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a packet socket that answers from the address that was asked, of which a
// host may have several: a client takes no answer from another.
type socket struct {
	c    net.PacketConn
	real *net.UDPConn // c, where it is the kernel's
}

func newSocket(c net.PacketConn) *socket {
	s := &socket{c: c}
	real, ok := c.(*net.UDPConn)
	if !ok {
		return s
	}
	raw, err := real.SyscallConn()
	if err != nil {
		return s
	}
	raw.Control(func(fd uintptr) {
		// Which of the two the socket is the kernel knows. Where neither can be had, it
		// chooses the address as it likes.
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) == nil ||
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1) == nil {
			s.real = real
		}
	})
	return s
}

// read receives a datagram.
func (s *socket) read(p []byte) (n int, from way, err error) {
	if s.real == nil {
		n, sender, err := s.c.ReadFrom(p)
		if err != nil {
			return 0, way{}, err
		}
		from.from, err = netip.ParseAddrPort(sender.String())
		return n, from, err
	}
	var control [128]byte
	n, k, _, sender, err := s.real.ReadMsgUDPAddrPort(p, control[:])
	return n, way{sender, asked(control[:k])}, err
}

// asked finds in what the kernel tells of a datagram the address it was sent to.
func asked(control []byte) netip.Addr {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(m.Data[:16]))
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(m.Data[4:8])) // after the interface's number
		}
	}
	return netip.Addr{}
}

// write sends a datagram back where one came from.
func (s *socket) write(p []byte, to way) error {
	if err := s.c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	if s.real == nil {
		_, err := s.c.WriteTo(p, net.UDPAddrFromAddrPort(to.from))
		return err
	}
	var control []byte
	switch {
	case to.at.Is4():
		control = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: to.at.As4()})
	case to.at.Is6():
		control = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: to.at.As16()})
	}
	_, _, err := s.real.WriteMsgUDPAddrPort(p, control, to.from)
	return err
}

// await returns when there is something to read, so that whoever waits for it holds no
// buffer meanwhile. What is in memory alone does not wait here.
func await(c any) error {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	err = raw.Read(func(fd uintptr) bool {
		_, _, fault = unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(fault, unix.EAGAIN)
	})
	if err != nil {
		return err
	}
	return fault
}
