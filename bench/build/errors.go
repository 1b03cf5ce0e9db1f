package build

import "errors"

var (
	// ErrNoRepository means that the directory belongs to no git repository.
	ErrNoRepository = errors.New("not a git repository")
	// ErrNoRevision means that the repository has no commit of that name.
	ErrNoRevision = errors.New("no such commit")
	// ErrDirty means that the tree holds changes that the commit does not.
	ErrDirty = errors.New("the tree has changes that are not committed")
	// ErrBuild means that a commit does not compile or link.
	ErrBuild = errors.New("does not build")
	// ErrTool means that git or go is missing, or failed at something that is not
	// the commit's fault.
	ErrTool = errors.New("could not prepare the build")
)
