// Package flame draws a CPU profile as an icicle: the program's stacks from the top
// down, each function as wide as the time it and what it called took.
//
// Figure draws one profile, Difference two of them side by side in one picture. Both
// are functions of profiles; nothing is read or run here but Read, which reads a file.
// A picture is bounded: frames too narrow to be seen are drawn as one, and its text
// alternative is the table of the functions that took most by themselves.
package flame
