package loadgen

import (
	"cmp"
	"fmt"
	"strings"
)

// Bottleneck is what limited a run.
type Bottleneck string

const (
	BottleneckNone      Bottleneck = "none"
	BottleneckGenerator Bottleneck = "generator"
	BottleneckCluster   Bottleneck = "cluster"
	BottleneckDisk      Bottleneck = "disk"
)

const (
	// capacityShareMax is the share of the generator's own capacity (null-sink probe) above which its numbers are not the
	// cluster's: half, the rule of the lab.
	capacityShareMax = 0.5
	// closedShareMax is the same for a closed loop. Its capacity is one round trip after another against nothing, client CPU and all,
	// so on cores that it shares with the brokers even a fast cluster comes close to it: half would call every such run the generator.
	closedShareMax = 0.9
	// lateShareMax is the share of late records above which a generator counts as behind: fortio's alarm.
	lateShareMax = 0.05
	// finalLagMax is how far behind, in ns, a generator may be at its last record.
	finalLagMax = 100_000_000
	// diskShareMin is the share of the window in which tasks of this machine waited for a disk, for the disk to be named.
	diskShareMin = 0.5
)

// evidence is what the naming rests on.
type evidence struct {
	openLoop, closedLoop bool
	rate                 float64 // acknowledged records/s
	capacity             float64 // of the generator; 0: not probed
	sent                 int64
	lag                  lag // summed over the senders; final is the largest
	storageErrors        bool
	ioShare              float64 // -1: unknown or not this machine's
}

// bottleneck names what limited the run, and why.
//
//  1. A generator above half of its own capacity (a closed loop: nine tenths) is the generator: what it reports is partly itself.
//  2. An open loop is behind when records were never sent, more than 5 % went out over 10 ms late, or the last one was over 100 ms
//     late. It was waiting for a free slot (so for answers) most of that time: the cluster. It was not: the generator, for the
//     cluster had nothing to answer.
//  3. Saturating always has a limit; if it is not the generator it is the cluster.
//  4. The cluster is named disk where brokers answered with storage errors, or where all brokers are on this machine and tasks on
//     it waited for a disk for at least half of the window.
func (e *evidence) bottleneck() (Bottleneck, string) {
	share := capacityShareMax
	if e.closedLoop {
		share = closedShareMax
	}
	if e.capacity > 0 && e.rate > share*e.capacity {
		return BottleneckGenerator, fmt.Sprintf("%.0f records/s is %.0f %% of the %.0f the generator reaches against a null sink",
			e.rate, 100*e.rate/e.capacity, e.capacity)
	}
	var why string
	switch {
	case e.openLoop:
		if why = e.behind(); why == "" {
			return BottleneckNone, ""
		}
		if 2*e.lag.blocked < e.lag.lateFor {
			return BottleneckGenerator, why + "; it had free slots most of that time"
		}
	case e.closedLoop:
		return BottleneckNone, ""
	default:
		why = "saturating"
	}
	switch {
	case e.storageErrors:
		return BottleneckDisk, why + "; brokers answered with storage errors"
	case e.ioShare >= diskShareMin:
		return BottleneckDisk, fmt.Sprintf("%s; tasks waited for a disk %.0f %% of the time", why, 100*e.ioShare)
	}
	return BottleneckCluster, cmp.Or(why, "behind")
}

// behind says how an open loop fell behind its schedule; empty if it kept up.
func (e *evidence) behind() string {
	var why []string
	if e.lag.unsent > 0 {
		why = append(why, fmt.Sprintf("%d scheduled records were never sent", e.lag.unsent))
	}
	if float64(e.lag.late) > lateShareMax*float64(e.sent) {
		why = append(why, fmt.Sprintf("%.0f %% of the records were sent over 10 ms late", 100*float64(e.lag.late)/float64(e.sent)))
	}
	if e.lag.final > finalLagMax {
		why = append(why, fmt.Sprintf("the last record was %.0f ms late", float64(e.lag.final)/1e6))
	}
	return strings.Join(why, ", ")
}

// sumLag adds up the senders' lags.
func sumLag(producers []*producer) (sum lag) {
	for _, p := range producers {
		sum.late += p.lag.late
		sum.lateFor += p.lag.lateFor
		sum.blocked += p.lag.blocked
		sum.unsent += p.lag.unsent
		sum.final = max(sum.final, p.lag.final)
	}
	return sum
}
