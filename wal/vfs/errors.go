package vfs

import "errors"

var (
	// ErrLocked means another holder has the lock.
	ErrLocked = errors.New("vfs: locked by another holder")
	// ErrPowerCut answers every change to a memory disk that was frozen.
	ErrPowerCut = errors.New("vfs: the power is cut")
)
