// The compiler accepts a function without a body, as docker.go has one, only in a
// package with an assembly file.
