package engine

// Version is the version of the engine. All modules of Granary share it.
const Version = "v0.1.0"
