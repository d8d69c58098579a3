/**
 * Scalability Protocols (nanomsg, NNG, nnqpy) for web pages, over WebSocket: an ES module without dependencies.
 *
 *     import { Req, Sub } from "./sp.js";
 *
 *     const req = new Req("ws://localhost:7000/answers");
 *     const reply = await req.request("What is the time?");
 *
 *     const sub = new Sub("ws://localhost:7000/news");
 *     sub.subscribe("weather.");
 *     sub.onmessage = (body) => console.log(new TextDecoder().decode(body));
 *
 * A page dials, it cannot listen. Each socket has one connection; when that is lost, it is dialled again, after a time
 * that doubles from try to try. What is sent is a string (as UTF-8), an ArrayBuffer or a view of one; what is received
 * is a Uint8Array. One SP message, header and body, is one binary message.
 *
 * What a page handed to a connection that then broke is lost, as with any SP socket; only a request is sent again.
 */

/** What can be sent. @typedef {string | ArrayBuffer | ArrayBufferView} Body */

/**
 * @typedef {object} Options
 * @property {number} [reconnectMin] milliseconds before the second try to connect (100)
 * @property {number} [reconnectMax] the most milliseconds between two tries (10000)
 * @property {number} [highWater] bytes that may wait in the connection before `send` waits, or a Pub drops (1 MiB)
 * @property {number} [queueMax] messages that a Sub keeps for `recv`; beyond, the oldest is dropped (1000)
 * @property {typeof WebSocket} [WebSocket] what to connect with, where it is not the global one
 */

const HOPS_MAX = 8; // words in front of a request, nng's default
const STABLE = 5000; // milliseconds after which a connection counts as good, so that the next one is tried soon
const POLL = 10; // milliseconds between two looks at what a connection still has to send: no event tells of it
const RESEND = 60000; // milliseconds after which a request is sent again, nng's default
const SPENT = 1 << 10; // what was taken off the front of a queue before it is moved up

/** The socket is closed, or was closed while the call waited. */
export class Closed extends Error {
  constructor() {
    super("the socket is closed");
    this.name = "Closed";
  }
}

/** The time given is over. */
export class TimedOut extends Error {
  /** @param {number} timeout milliseconds */
  constructor(timeout) {
    super(`no reply within ${timeout} ms`);
    this.name = "TimedOut";
  }
}

/** What all sockets have. Not exported: a socket is one of the patterns below. */
class Socket {
  /**
   * @param {string} url `ws://host:port/path` or `wss://...`
   * @param {string} peer the SP name of the other end: a page dials, so it offers the name of who listens
   * @param {Options} options
   * @throws {DOMException} the URL is none, or this page may not dial it
   */
  constructor(url, peer, options) {
    this.url = String(url);
    /** Called when a connection is there. @type {(() => void) | null} */
    this.onconnect = null;
    /** Called when it is lost, with the close code and the reason that the browser tells. */
    /** @type {((code: number, reason: string) => void) | null} */
    this.ondisconnect = null;
    this.closed = false;
    this._protocol = `${peer}.sp.nanomsg.org`;
    this._make = options.WebSocket ?? globalThis.WebSocket;
    this._min = options.reconnectMin ?? 100;
    this._max = options.reconnectMax ?? 10000;
    this._highWater = options.highWater ?? 1 << 20;
    this._ws = null;
    this._tries = 0;
    this._timer = undefined;
    // A URL that no browser takes is refused here; what comes of the connection is told later, as events are.
    this._connect();
  }

  /** Whether there is a connection now. */
  get connected() {
    return this._ws !== null && this._ws.readyState === 1;
  }

  /** Close for good. What was handed to the connection is still sent; who waits gets `Closed`. */
  close() {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this._timer);
    const ws = this._ws;
    this._ws = null;
    if (ws !== null) {
      ws.onopen = ws.onmessage = ws.onclose = null;
      ws.close(1000);
    }
    this._end();
  }

  _connect() {
    if (this.closed) return;
    let opened = 0;
    const ws = new this._make(this.url, this._protocol);
    this._ws = ws;
    ws.binaryType = "arraybuffer";
    ws.onopen = () => {
      opened = Date.now();
      this._opened(ws);
      this.onconnect?.();
    };
    ws.onmessage = (event) => {
      // A text message is none of SP's.
      if (event.data instanceof ArrayBuffer) this._receive(new Uint8Array(event.data), ws);
    };
    ws.onclose = (event) => {
      this._ws = null;
      if (opened && Date.now() - opened >= STABLE) this._tries = 0;
      const most = Math.min(this._max, this._min * 2 ** Math.min(this._tries, 30));
      this._tries += 1;
      // Anything from half of it on: thousands of pages must not come back in the same moment.
      this._timer = setTimeout(() => this._connect(), most * (0.5 + Math.random() / 2));
      this._lost();
      if (opened) this.ondisconnect?.(event.code, event.reason);
    };
  }

  /** A connection is there. */
  _opened(_ws) {}

  /** The connection is lost; another one is on its way. */
  _lost() {}

  /** The socket is closed: refuse all who wait. */
  _end() {}

  /** A message came. */
  _receive(_payload, _ws) {}
}

/** A socket that receives: by `onmessage` as it comes, or by `recv` and `for await` from a queue. */
class Receiver extends Socket {
  constructor(url, peer, options, most = Infinity) {
    super(url, peer, options);
    /** How many messages were dropped because the queue was full. */
    this.missed = 0;
    this._onmessage = null;
    this._inbox = new Queue();
    this._waiting = new Queue();
    this._most = most;
  }

  /** Called with each message; what waits for `recv` is handed over when it is set. */
  /** @type {((body: Uint8Array) => void) | null} */
  get onmessage() {
    return this._onmessage;
  }

  set onmessage(call) {
    this._onmessage = call;
    while (this._onmessage !== null && this._inbox.length) this._onmessage(this._inbox.take());
  }

  /** The next message. @returns {Promise<Uint8Array>} */
  recv() {
    if (this._inbox.length) return Promise.resolve(this._inbox.take());
    if (this.closed) return Promise.reject(new Closed());
    return new Promise((resolve, reject) => this._waiting.put({ resolve, reject }));
  }

  /** Every message from now on, until the socket is closed. */
  async *[Symbol.asyncIterator]() {
    for (;;) {
      let body;
      try {
        body = await this.recv();
      } catch (error) {
        if (error instanceof Closed) return;
        throw error;
      }
      yield body;
    }
  }

  _receive(payload) {
    if (this._waiting.length) this._waiting.take().resolve(payload);
    else if (this._onmessage !== null) this._onmessage(payload);
    else {
      this._inbox.put(payload);
      if (this._inbox.length > this._most) {
        this._inbox.take();
        this.missed += 1;
      }
    }
  }

  _end() {
    while (this._waiting.length) this._waiting.take().reject(new Closed());
  }
}

/** What waits to be sent, in order, while there is no connection or while that has enough to send. */
class Outbox {
  constructor(highWater) {
    this._highWater = highWater;
    this._queue = new Queue();
    this._ws = null;
    this._timer = undefined;
  }

  /** @returns {Promise<void>} settled when the connection has the message */
  send(body) {
    if (!this._queue.length && this._ready()) {
      this._ws.send(body);
      return Promise.resolve();
    }
    // A copy: the caller may write into its buffer before this goes.
    const payload = body.slice();
    return new Promise((resolve, reject) => {
      this._queue.put({ payload, resolve, reject });
      this.pump();
    });
  }

  attach(ws) {
    this._ws = ws;
    this.pump();
  }

  pump() {
    clearTimeout(this._timer);
    while (this._queue.length && this._ready()) {
      const { payload, resolve } = this._queue.take();
      this._ws.send(payload);
      resolve();
    }
    if (this._queue.length && this._ws !== null) this._timer = setTimeout(() => this.pump(), POLL);
  }

  end() {
    clearTimeout(this._timer);
    this._ws = null;
    while (this._queue.length) this._queue.take().reject(new Closed());
  }

  _ready() {
    return this._ws !== null && this._ws.readyState === 1 && this._ws.bufferedAmount < this._highWater;
  }
}

/** A kind of socket that also sends, by an outbox. */
const Sending = (Kind) =>
  class extends Kind {
    constructor(url, peer, options) {
      super(url, peer, options);
      this._outbox = new Outbox(this._highWater);
    }

    /** Settled when the connection has it: awaiting it is what keeps a page from filling its memory. */
    /** @param {Body} body @returns {Promise<void>} */
    async send(body) {
      if (this.closed) throw new Closed();
      return this._outbox.send(bytes(body));
    }

    _opened(ws) {
      this._outbox.attach(ws);
    }

    _lost() {
      this._outbox.attach(null);
    }

    _end() {
      super._end();
      this._outbox.end();
    }
  };

/** The receiving end of publish and subscribe: nothing comes until something is subscribed to. */
export class Sub extends Receiver {
  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    super(url, "pub", options, options.queueMax ?? 1000);
    this._prefixes = new Map();
  }

  /** Take the messages that begin so; the empty prefix is all of them. @param {Body} prefix */
  subscribe(prefix) {
    const wanted = bytes(prefix).slice();
    this._prefixes.set(wanted.join(), wanted);
  }

  /** No longer; a prefix that was not subscribed to is none of ours. @param {Body} prefix */
  unsubscribe(prefix) {
    this._prefixes.delete(bytes(prefix).join());
  }

  _receive(payload) {
    // The whole feed comes; the choice is made here, as in every SP subscriber.
    for (const prefix of this._prefixes.values()) {
      if (startsWith(payload, prefix)) {
        super._receive(payload);
        return;
      }
    }
  }
}

/** The sending end of publish and subscribe: nothing waits, what cannot go now is dropped. */
export class Pub extends Socket {
  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    super(url, "sub", options);
    /** How many messages went nowhere: no connection, or a slow one. */
    this.dropped = 0;
  }

  /** Send now or never. @param {Body} body @returns {boolean} whether the connection took it */
  send(body) {
    if (this.closed) throw new Closed();
    const payload = bytes(body);
    if (!this.connected || this._ws.bufferedAmount >= this._highWater) {
      this.dropped += 1;
      return false;
    }
    this._ws.send(payload);
    return true;
  }
}

/** The end of a pipeline that has the work. */
export class Push extends Sending(Socket) {
  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    super(url, "pull", options);
  }
}

/** The end of a pipeline that does the work. */
export class Pull extends Receiver {
  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    super(url, "push", options);
  }
}

/** One of two (version 0 of the pattern). */
export class Pair extends Sending(Receiver) {
  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    super(url, "pair", options);
  }
}

/** Who asks. Any number of requests may be under way. */
export class Req extends Socket {
  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    super(url, "rep", options);
    this._asked = new Map();
    this._next = Math.floor(Math.random() * 0x80000000);
  }

  /**
   * Ask, and wait for the reply. The request is sent again when the connection is lost, and when `resend` is over; so
   * who answers may see it twice.
   *
   * @param {Body} body
   * @param {object} [options]
   * @param {number} [options.timeout] milliseconds before it is given up with `TimedOut`; otherwise never
   * @param {number} [options.resend] milliseconds before it is sent again (60000); 0: only with a new connection
   * @param {AbortSignal} [options.signal] gives it up
   * @returns {Promise<Uint8Array>} the body of the reply
   */
  async request(body, { timeout, resend = RESEND, signal } = {}) {
    if (this.closed) throw new Closed();
    signal?.throwIfAborted();
    const content = bytes(body);
    const payload = new Uint8Array(4 + content.length);
    const id = this._newId();
    new DataView(payload.buffer).setUint32(0, id);
    payload.set(content, 4);
    let expiry;
    let abort;
    const question = { payload, resend, timer: undefined };
    try {
      return await new Promise((resolve, reject) => {
        question.resolve = resolve;
        question.reject = reject;
        abort = () => reject(signal.reason);
        signal?.addEventListener("abort", abort);
        if (timeout !== undefined) expiry = setTimeout(() => reject(new TimedOut(timeout)), timeout);
        this._asked.set(id, question);
        this._ask(question);
      });
    } finally {
      this._asked.delete(id);
      clearTimeout(expiry);
      clearTimeout(question.timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  _newId() {
    do this._next = (this._next + 1) % 0x80000000;
    while (this._asked.has(this._next + 0x80000000));
    return this._next + 0x80000000; // the high bit says that this word is the last one of the header
  }

  _ask(question) {
    clearTimeout(question.timer);
    if (!this.connected) return; // it goes with the next connection
    this._ws.send(question.payload);
    if (question.resend > 0) question.timer = setTimeout(() => this._ask(question), question.resend);
  }

  _opened() {
    for (const question of this._asked.values()) this._ask(question);
  }

  _lost() {
    for (const question of this._asked.values()) clearTimeout(question.timer);
  }

  _receive(payload) {
    if (payload.length < 4) return;
    // A reply that nobody waits for any more, or has already, finds no question.
    this._asked.get(word(payload, 0))?.resolve(payload.slice(4));
  }

  _end() {
    for (const question of this._asked.values()) question.reject(new Closed());
  }
}

/** Who answers. */
export class Rep extends Socket {
  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    super(url, "req", options);
    /**
     * Called with each request; what it returns, or what its promise gives, is the reply. `undefined`: there is none.
     * If it fails there is no reply either, and `onerror` is told.
     *
     * @type {((body: Uint8Array) => Body | undefined | Promise<Body | undefined>) | null}
     */
    this.onrequest = null;
    /** @type {(error: unknown) => void} */
    this.onerror = (error) => console.error("no reply: onrequest failed", error);
  }

  async _receive(payload, ws) {
    const size = backtrace(payload);
    if (size === 0 || this.onrequest === null) return;
    try {
      const reply = await this.onrequest(payload.slice(size));
      // A reply goes back by the connection that the request came by, or not at all: nobody else asked.
      if (reply === undefined || this._ws !== ws || !this.connected) return;
      const content = bytes(reply);
      const message = new Uint8Array(size + content.length);
      message.set(payload.subarray(0, size));
      message.set(content, size);
      ws.send(message);
    } catch (error) {
      this.onerror(error);
    }
  }
}

/** First in, first out; `take` costs the same however long it is. */
class Queue {
  constructor() {
    this._items = [];
    this._start = 0;
  }

  get length() {
    return this._items.length - this._start;
  }

  put(item) {
    this._items.push(item);
  }

  take() {
    const item = this._items[this._start];
    this._items[this._start] = undefined;
    this._start += 1;
    if (this._start === this._items.length || this._start === SPENT) {
      this._items.splice(0, this._start);
      this._start = 0;
    }
    return item;
  }
}

/** @param {Body} body @returns {Uint8Array} */
function bytes(body) {
  if (typeof body === "string") return new TextEncoder().encode(body);
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  throw new TypeError("a message is a string, an ArrayBuffer or a view of one");
}

function startsWith(payload, prefix) {
  return payload.length >= prefix.length && prefix.every((byte, place) => payload[place] === byte);
}

function word(payload, place) {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(place);
}

/** Bytes of the words in front of a request, up to the one with the high bit; 0 if there is none in time. */
function backtrace(payload) {
  for (let size = 4; size <= 4 * HOPS_MAX && size <= payload.length; size += 4) {
    if (payload[size - 4] & 0x80) return size;
  }
  return 0;
}
