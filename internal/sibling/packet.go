//go:build linux

package sibling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/volant/fledge-action/build/loop"
)

// network is the kind of socket: packets in order, and an end.
const network = "unixpacket"

// Limits of what either side takes.
const (
	maxPacket = 16 << 10 // bytes
	maxFiles  = 1        // descriptors in a packet
	maxError  = 4 << 10  // bytes of an error's text
)

// answer is what the sibling says.
type answer struct {
	Error string `json:"error,omitempty"`
}

// end is what the parent says when it has closed everything.
type end struct {
	Done bool `json:"done"`
}

// answerOf is the answer to a request that ended so.
func answerOf(err error) answer {
	if err == nil {
		return answer{}
	}
	text := err.Error()
	if text == "" {
		text = "unknown error"
	}
	return answer{text[:min(len(text), maxError)]}
}

// send sends a message, with a file if it is not nil.
func send(conn *net.UnixConn, message any, file *os.File) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(body) > maxPacket {
		return fmt.Errorf("a message has %d bytes, of at most %d", len(body), maxPacket)
	}
	var rights []byte
	if file != nil {
		// Fd would make the file's reads and writes block; this does not.
		raw, err := file.SyscallConn()
		if err != nil {
			return err
		}
		var sent error
		err = raw.Control(func(fd uintptr) {
			rights = syscall.UnixRights(int(fd))
			_, _, sent = conn.WriteMsgUnix(body, rights, nil)
		})
		return errors.Join(err, sent)
	}
	_, _, err = conn.WriteMsgUnix(body, nil, nil)
	return err
}

// receive takes a message and its descriptors, which are all closed if it is not as it
// should be. The other side's end is io.EOF.
func receive(conn *net.UnixConn, into any) (*os.File, error) {
	body := make([]byte, maxPacket+1)
	control := make([]byte, syscall.CmsgSpace(4*(maxFiles+1)))
	n, controls, flags, _, err := conn.ReadMsgUnix(body, control)
	files, wrong := filesIn(control[:controls]) // also of an empty packet, which is io.EOF
	if err == nil {
		switch {
		case wrong != nil:
			err = wrong
		case n > maxPacket || flags&syscall.MSG_TRUNC != 0:
			err = fmt.Errorf("a message has more than %d bytes, which is the limit", maxPacket)
		case len(files) > maxFiles || flags&syscall.MSG_CTRUNC != 0:
			err = fmt.Errorf("a message has more than %d descriptor, which is the limit", maxFiles)
		default:
			err = decode(body[:n], into)
		}
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, err
	}
	if len(files) == 0 {
		return nil, nil
	}
	return files[0], nil
}

// decode reads JSON that is a message and nothing else.
func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading a message: there is more behind it")
	}
	return nil
}

// filesIn are the files of a packet's control messages.
func filesIn(control []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("reading a message's descriptors: %w", err)
	}
	var files []*os.File
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // not descriptors
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "from the other container"))
		}
	}
	return files, nil
}

// theImage is the file of a request, which has to be one.
func theImage(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the image is %s, not a regular file", info.Mode().Type())
	}
	return nil
}

// theRoot is the file of an answer, which has to be a folder.
func theRoot(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("the root folder is %s, not a folder", info.Mode().Type())
	}
	return nil
}

// checkMount refuses a request that no build makes.
func checkMount(m loop.Mount) error {
	if m.Type != loop.XFS && m.Type != loop.Btrfs {
		return fmt.Errorf("mounting a filesystem of type %q: only %s and %s are", m.Type, loop.XFS, loop.Btrfs)
	}
	return nil
}
