package runtime

// scope is a compiled graph: names resolved to slots.
type scope struct{}

// frame holds the values of one run of a scope.
type frame struct{}
