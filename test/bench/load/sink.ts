/**
 * The origin of uploads: reads a body, counts it, and answers when it is whole. Run by itself: `node sink.ts <port>`.
 * Bodies have a Content-Length or are chunked, as the proxy likes it; a body that is cut gets no answer.
 */
import { createServer } from "node:http";

const server = createServer((request, response) => {
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  request.on("end", () => {
    const text = String(bytes);
    response.writeHead(200, { "content-type": "text/plain", "content-length": text.length });
    response.end(text);
  });
});
server.keepAliveTimeout = 0;
server.requestTimeout = 0;
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 1024 });
