package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Writer appends records to the file of one process. Safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	file *os.File
	buf  *bufio.Writer
	line []byte
	err  error
	each bool
	base int64
	at   time.Time
}

// Create makes the file name.jsonl below dir; that it exists is an error, since the records of two
// runs cannot be told apart. With eachLine every line is handed to the kernel at
// once and survives a SIGKILL of its process, as the records of members must; else the lines of hot
// events are buffered until Flush or Close.
func Create(dir, name string, eachLine bool) (*Writer, error) {
	f, err := os.OpenFile(filepath.Join(dir, name+".jsonl"), os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	base, at, err := atOnce()
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return &Writer{file: f, buf: bufio.NewWriterSize(f, 64<<10), each: eachLine, base: base, at: at}, nil
}

// atOnce reads CLOCK_MONOTONIC and Go's clock at one moment. On a busy machine a process may stand still
// between the two for as long as a whole change takes, and all that it records would be as wrong: the
// closest of some readings is taken.
func atOnce() (base int64, at time.Time, err error) {
	closest := time.Hour
	for tries := 0; tries < 100 && closest > 10*time.Microsecond; tries++ {
		before := time.Now()
		read, err := monotonic()
		if err != nil {
			return 0, at, err
		}
		if took := time.Since(before); took < closest {
			closest, base, at = took, read, before.Add(took/2)
		}
	}
	return base, at, nil
}

// Now is CLOCK_MONOTONIC in nanoseconds.
func (w *Writer) Now() int64 { return w.base + int64(time.Since(w.at)) }

// Write appends r as it is and flushes, for events that are rare.
func (w *Writer) Write(r Record) {
	line, err := json.Marshal(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		_, err = w.buf.Write(append(line, '\n'))
	}
	if err == nil {
		err = w.buf.Flush()
	}
	w.keep(err)
}

// Handle appends a handled request; it is written before the answer leaves, so that a member which
// is killed has recorded whatever it answered.
func (w *Writer) Handle(member string, request uint64, id, activation string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.begin(w.Now(), member, Handled)
	b = appendNumber(b, "request", int64(request))
	b = appendLife(b, id, activation)
	w.end(b)
}

// Life appends the beginning or the end of an activation, event says which.
func (w *Writer) Life(event, member, id, activation, token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.begin(w.Now(), member, event)
	b = appendLife(b, id, activation)
	b = appendText(b, "token", token)
	w.end(b)
}

// Call appends the end of a call.
func (w *Writer) Call(r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.begin(r.End, r.Member, Called)
	b = appendNumber(b, "request", int64(r.Request))
	b = appendText(b, "id", r.ID)
	b = appendNumber(b, "start", r.Start)
	b = appendNumber(b, "end", r.End)
	b = appendText(b, "outcome", r.Outcome)
	b = appendText(b, "delivery", r.Delivery)
	b = appendText(b, "activation", r.Activation)
	w.end(b)
}

func (w *Writer) begin(ns int64, member, event string) []byte {
	b := append(w.line[:0], `{"ns":`...)
	b = strconv.AppendInt(b, ns, 10)
	b = appendText(b, "member", member)
	return appendText(b, "event", event)
}

func (w *Writer) end(b []byte) {
	w.line = append(b, '}', '\n')
	_, err := w.buf.Write(w.line)
	if w.each && err == nil {
		err = w.buf.Flush()
	}
	w.keep(err)
}

func appendLife(b []byte, id, activation string) []byte {
	return appendText(appendText(b, "id", id), "activation", activation)
}

func appendText(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(value)
			if err != nil {
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}

func appendNumber(b []byte, name string, value int64) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendInt(b, value, 10)
}

func (w *Writer) keep(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Flush writes what is buffered and tells the first error of any write.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(w.buf.Flush())
	return w.err
}

// Close flushes and closes the file.
func (w *Writer) Close() error {
	err := w.Flush()
	if closeErr := w.file.Close(); err == nil {
		err = closeErr
	}
	return err
}
