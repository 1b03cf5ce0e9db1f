package gossip

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// logs writes a warning at most once a minute for each text and reason, and takes
// what memberlist logs.
type logs struct {
	log    *slog.Logger
	closed atomic.Bool // memberlist's timers may speak after its end

	mu   sync.Mutex
	last map[said]time.Time // guarded by mu
}

type said struct {
	what string
	why  error // a sentinel, nil for any other
}

const logEvery = time.Minute

func newLogs(log *slog.Logger) *logs { return &logs{log: log, last: map[said]time.Time{}} }

// warn logs err after what, which is a constant; args are keys and values.
func (l *logs) warn(what string, err error, args ...any) {
	key := said{what: what}
	for _, why := range []error{ErrForeignCluster, ErrMalformed, ErrLimit} {
		if errors.Is(err, why) {
			key.why = why
		}
	}
	if l.news(key) {
		l.log.Warn("gossip: "+what, append(args, "err", err)...)
	}
}

// news says that a thing was not said for a while, and that it is now.
func (l *logs) news(s said) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.last[s]; ok && now.Sub(at) < logEvery {
		return false
	}
	l.last[s] = now
	return true
}

// logger is where memberlist writes.
func (l *logs) logger() *log.Logger { return log.New(l, "", 0) }

// close drops what memberlist still has to say.
func (l *logs) close() { l.closed.Store(true) }

// Write implements io.Writer: one line of memberlist, such as
// "[WARN] memberlist: Refuting a suspect message (from: …)". Its levels are one too
// high for this node, to which gossip is a hint; what is above debug comes once a
// minute for each kind of line.
func (l *logs) Write(line []byte) (int, error) {
	level, text := parse(strings.TrimSpace(string(line)))
	if !l.closed.Load() && l.log.Enabled(context.Background(), level) && (level == slog.LevelDebug || l.news(said{what: gist(text)})) {
		l.log.Log(context.Background(), level, "memberlist: "+text)
	}
	return len(line), nil
}

// parse splits off memberlist's level and gives ours.
func parse(line string) (slog.Level, string) {
	level, text, _ := strings.Cut(line, " ")
	text = strings.TrimPrefix(text, "memberlist: ")
	switch level {
	case "[DEBUG]", "[INFO]":
		return slog.LevelDebug, text
	case "[WARN]":
		return slog.LevelInfo, text
	case "[ERR]", "[ERROR]":
		return slog.LevelWarn, text
	}
	return slog.LevelWarn, line
}

// gist is a line up to what differs from one to the next.
func gist(text string) string {
	if at := strings.IndexAny(text, "0123456789:('\""); at >= 0 {
		return text[:at]
	}
	return text
}
