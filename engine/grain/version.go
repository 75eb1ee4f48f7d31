package grain

// GeneratedV1 is referred to by code that protoc-gen-go-grain generates in its first form, so that
// code of another form does not compile: generate it again, or take the engine it was made for.
const GeneratedV1 = true
