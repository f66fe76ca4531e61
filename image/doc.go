// Package image moves images between Docker Engines, whole and checked, without a
// registry and without a second copy on any disk:
//
//	library := image.NewLibrary(image.LibraryConfig{Engine: engine, Root: root})
//	mover := image.New(image.Config{Engine: engine, Backend: library, …})
//	go mover.Run(ctx)
//	rpc.Handle("/rpc/image/", mover.Handler())           // gives this host's images
//	err := mover.Bring(ctx, image.Want{ID: id, Holders: holders}) // brings another's
//
// An image is its configuration and its layers, both known by their SHA-256. Only
// layers that the engine lacks travel. They go from the holder's disk straight into
// the load of the engine that wants them, and any holder can send any byte of them.
//
// A Backend knows one kind of engine: [Overlay2] and [Containerd] read layers where
// the engine keeps them, [EngineAPI] has them from docker save. [Library] picks the
// best that works. The package knows no image names but for [StripNames], which
// takes them out of an archive that somebody loads.
package image
