package engine

import (
	"time"

	"golang.org/x/sys/unix"

	"dyno/engine/multiraft"
)

// Leases are a property of the cluster that Format decides: every voter of a
// partition must keep the promises that they rest on (replica/lease.go), in all its
// lives. Nodes with and without are two clusters that refuse each other, whatever the
// operator calls them. The metadata group has none: it is read seldom.

// leasePromise is the election timeout of a group (replica.Config.ElectionTicks): a
// leader that is gone is missed no sooner than that.
const leasePromise = 30 * multiraft.TickDefault

// promise is multiraft.Spec.Promise of this node's partitions.
func (m *Meta) promise() time.Duration {
	if m.Leases {
		return leasePromise
	}
	return 0
}

// clusterName is what nodes call their cluster among each other. No cluster's id has
// a space in it.
func (m *Meta) clusterName() string {
	if m.Leases {
		return m.ClusterID + " with leases"
	}
	return m.ClusterID
}

// leasesFlag is the flag of dyno format that makes a directory like this one.
func (m *Meta) leasesFlag() string {
	if m.Leases {
		return " --leases"
	}
	return ""
}

// bootTime is a monotonic clock that goes on while the machine sleeps, as that of
// package time does not: a lease must not outlast a night.
func bootTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("BUG: no boot-time clock: " + err.Error())
	}
	return time.Duration(t.Nano())
}
