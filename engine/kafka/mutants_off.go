//go:build !mutants

package kafka

// dawdleRequest and dawdleBatch do nothing in a real build.
func dawdleRequest() {}

func dawdleBatch(int32) {}
