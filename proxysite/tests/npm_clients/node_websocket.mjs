// Node.js 20 has no WebSocket, and that of later versions sends no headers: take the package's.
import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
