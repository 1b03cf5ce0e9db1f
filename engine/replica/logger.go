package replica

import "fmt"

// logger swallows what Raft would log: its news reach the owner as data (Role,
// errors). What Raft calls a panic is one.
type logger struct{}

func (logger) Debug(...any)            {}
func (logger) Debugf(string, ...any)   {}
func (logger) Info(...any)             {}
func (logger) Infof(string, ...any)    {}
func (logger) Warning(...any)          {}
func (logger) Warningf(string, ...any) {}
func (logger) Error(...any)            {}
func (logger) Errorf(string, ...any)   {}

func (logger) Fatal(v ...any)                 { panic("BUG: raft: " + fmt.Sprint(v...)) }
func (logger) Fatalf(format string, v ...any) { panic("BUG: raft: " + fmt.Sprintf(format, v...)) }
func (logger) Panic(v ...any)                 { panic("BUG: raft: " + fmt.Sprint(v...)) }
func (logger) Panicf(format string, v ...any) { panic("BUG: raft: " + fmt.Sprintf(format, v...)) }
