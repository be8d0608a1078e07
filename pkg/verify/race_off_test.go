//go:build !race

package verify

// RaceBuild says that the race detector is in.
const RaceBuild = false
