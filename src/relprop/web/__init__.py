"""The page of ``relprop serve``: an application on this machine's own address, and what keeps it safe there.

`guard` decides who may ask, `bodies` how much is read, `uploads` what counts as a picture, `worker` how much waits;
`app` has the addresses. Nothing a request says is ever used as a path, and networks are those of the command line.
"""
