-- wrk: a body of 1 MiB with every request.
wrk.method = "POST"
wrk.body = string.rep("x", 1048576)
