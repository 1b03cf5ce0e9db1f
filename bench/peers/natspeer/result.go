package natspeer

import (
	"time"

	"dyno/loadgen"
)

// JSONSchema names the object a Result is in JSON.
const JSONSchema = "dyno.peers.nats/1"

// Result is one finished run: the fields of dyno.load/1 under their own names,
// and what only this peer has. Times are ns; null stands for not measured.
// lost, duplicated, reordered and corrupted need VerifyRead.
type Result struct {
	loadgen.Report
	Mode          string           `json:"mode"` // open, closed, saturating
	Sync          string           `json:"sync"` // the servers' fsync policy in words
	ServerVersion string           `json:"server_version"`
	ClientVersion string           `json:"client_version"`
	Window        time.Duration    `json:"window_ns"` // from the start of the timed window to the last answer
	Why           string           `json:"saturated_why"`
	Backpressure  int64            `json:"backpressure"` // times a message was due and no slot was free
	Unsent        int64            `json:"unsent"`       // scheduled and never sent
	Late          int64            `json:"late"`         // sent over 10 ms after their intended time
	Censored      int64            `json:"censored"`     // in the response at a lower bound, for want of an answer
	Errors        map[string]int64 `json:"errors,omitempty"`
	Servers       []ServerUse      `json:"servers"`
	Verification  Verification     `json:"verification"`
	Violation     string           `json:"violation"` // "" if nothing was violated
	Config        Config           `json:"config"`    // the effective one
}

// ServerUse is what one server process used from the start of the timed window
// to the last answer.
type ServerUse struct {
	Name       string  `json:"name"`
	PID        int     `json:"pid"`
	CPUSeconds float64 `json:"cpu_s"`      // user and system
	DiskBytes  int64   `json:"disk_bytes"` // caused to be written to a device; -1: unknown
	RSSBytes   int64   `json:"rss_bytes"`  // at the end
	Leads      int     `json:"leads"`      // streams it led when the load began
}

// Verification is what the streams said after the last answer.
type Verification struct {
	Mode       Verify `json:"mode"`
	Stored     int64  `json:"stored"`     // messages the streams hold
	Missing    int64  `json:"missing"`    // acknowledged beyond what a stream holds
	Repeated   int64  `json:"repeated"`   // answers that named a place another answer had named
	Foreign    int64  `json:"foreign"`    // held beyond what was sent
	Read       int64  `json:"read"`       // messages read back
	Lost       int64  `json:"lost"`       // acknowledged and not read back
	Duplicated int64  `json:"duplicated"` // read more than once
	Reordered  int64  `json:"reordered"`  // read after a later message of the same publisher and stream
	Corrupted  int64  `json:"corrupted"`  // read with other bytes than were sent
	Misplaced  int64  `json:"misplaced"`  // read at another place than the answer had named
}
