package replay

// ChildEnv is for tests outside of the package.
const ChildEnv = childEnv
