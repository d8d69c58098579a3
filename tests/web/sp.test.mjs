// The patterns of sp.js over a connection that the test plays: no network, and time is the test's own.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Closed, Pair, Pub, Pull, Push, Rep, Req, Sub, TimedOut } from "../../nnqpy/web/sp.js";

let made = [];

class FakeWebSocket {
  constructor(url, protocol) {
    if (!url.startsWith("ws")) throw new SyntaxError("no URL");
    Object.assign(this, { url, protocol, readyState: 0, bufferedAmount: 0, sent: [] });
    made.push(this);
  }

  send(body) {
    assert.equal(this.readyState, 1);
    this.sent.push(new Uint8Array(body));
  }

  close(code) {
    this.readyState = 2;
    this.code = code;
  }

  open() {
    this.readyState = 1;
    this.onopen();
    return this;
  }

  lose(code = 1006) {
    this.readyState = 3;
    this.onclose({ code, reason: "" });
  }

  get(...body) {
    this.onmessage({ data: new Uint8Array(body).buffer });
  }
}

const options = { WebSocket: FakeWebSocket, reconnectMin: 100, reconnectMax: 1000 };
const URL = "ws://host:7000/x";
const text = (body) => new TextDecoder().decode(body);
const settle = () => new Promise((resolve) => setImmediate(resolve));
const last = () => made.at(-1);

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  made = [];
});

test("a dialer offers the name of its peer", () => {
  const wanted = { Sub: "pub", Pub: "sub", Req: "rep", Rep: "req", Push: "pull", Pull: "push", Pair: "pair" };
  for (const [kind, make] of Object.entries({ Sub, Pub, Req, Rep, Push, Pull, Pair })) {
    const socket = new make(URL, options);
    assert.deepEqual(
      [last().url, last().protocol, last().binaryType, socket.connected],
      [URL, `${wanted[kind]}.sp.nanomsg.org`, "arraybuffer", false],
    );
    last().open();
    assert.equal(socket.connected, true);
    socket.close();
    assert.equal(last().code, 1000);
    socket.close();
  }
  assert.throws(() => new Pull("http://x", options), SyntaxError);
});

test("a lost connection is dialled again, later from try to try", () => {
  const events = [];
  const pull = new Pull(URL, options);
  pull.onconnect = () => events.push("there");
  pull.ondisconnect = (code) => events.push(code);
  for (const most of [100, 200, 400, 800, 1000, 1000]) {
    last().lose();
    const tries = made.length;
    mock.timers.tick(most / 2 - 1);
    assert.equal(made.length, tries);
    mock.timers.tick(most / 2 + 1);
    assert.equal(made.length, tries + 1);
  }
  assert.deepEqual(events, []);
  last().open();
  mock.timers.tick(6000);
  last().lose(1001);
  assert.deepEqual(events, ["there", 1001]);
  mock.timers.tick(100);
  last().open();
  last().lose(); // so soon: whoever it is, it does not want us
  const tries = made.length;
  mock.timers.tick(99);
  assert.equal(made.length, tries);
  pull.close();
  mock.timers.tick(100000);
  assert.equal(made.length, tries);
});

test("a sub takes what it subscribed to", () => {
  const sub = new Sub(URL, { ...options, queueMax: 2 });
  const got = [];
  sub.onmessage = (body) => got.push(text(body));
  const say = (...words) => words.forEach((word) => last().get(...new TextEncoder().encode(word)));
  last().open();
  say("a1");
  sub.subscribe("a");
  sub.subscribe(new Uint8Array([98, 98]));
  say("a2", "b3", "bb4", "", "a");
  sub.unsubscribe("a");
  sub.unsubscribe("never");
  say("a5", "bb6");
  last().onmessage({ data: "bb text" });
  sub.subscribe("");
  say("", "z7");
  assert.deepEqual(got, ["a2", "bb4", "a", "bb6", "", "z7"]);
  sub.onmessage = null;
  say("8", "9", "10");
  assert.equal(sub.missed, 1);
  sub.onmessage = (body) => got.push(text(body));
  assert.deepEqual(got.slice(-2), ["9", "10"]);
});

test("a pub sends now or never", () => {
  const pub = new Pub(URL, { ...options, highWater: 10 });
  assert.equal(pub.send("early"), false);
  last().open();
  assert.equal(pub.send("now"), true);
  last().bufferedAmount = 10;
  assert.equal(pub.send("slow"), false);
  assert.deepEqual([last().sent.map(text), pub.dropped], [["now"], 2]);
  assert.throws(() => pub.send(7), TypeError);
  pub.close();
  assert.throws(() => pub.send("late"), Closed);
});

test("a push waits for a connection, and for room in it", async () => {
  for (const kind of [Push, Pair]) {
    const push = new kind(URL, { ...options, highWater: 10 });
    const buffer = new Uint8Array([1, 2, 3]);
    const done = [];
    const send = (body) => push.send(body).then(() => done.push(1));
    send(buffer.subarray(1));
    send("b");
    buffer.fill(9);
    await settle();
    assert.equal(done.length, 0);
    const first = last().open();
    await settle();
    assert.equal(done.length, 2);
    assert.deepEqual([[...first.sent[0]], text(first.sent[1])], [[2, 3], "b"]);
    await send(new Uint8Array([4]).buffer);
    first.bufferedAmount = 10;
    send("c");
    send("d");
    mock.timers.tick(50);
    await settle();
    assert.equal(first.sent.length, 3);
    first.bufferedAmount = 9;
    mock.timers.tick(10);
    await settle();
    assert.deepEqual([first.sent.slice(3).map(text), done.length], [["c", "d"], 5]);
    first.lose();
    const waits = push.send("e");
    mock.timers.tick(100);
    last().open();
    await waits;
    assert.deepEqual(last().sent.map(text), ["e"]);
    last().lose();
    const never = push.send("f");
    push.close();
    await assert.rejects(never, Closed);
    await assert.rejects(push.send("g"), Closed);
  }
});

test("what comes waits for recv", async () => {
  for (const kind of [Pull, Pair]) {
    const pull = new kind(URL, options);
    const early = pull.recv();
    last().open();
    for (let n = 0; n < 3000; n += 1) last().get(n & 255);
    assert.deepEqual([...(await early)], [0]);
    for (let n = 1; n < 2999; n += 1) assert.deepEqual([...(await pull.recv())], [n & 255]);
    const rest = [];
    const loop = (async () => {
      for await (const body of pull) rest.push(body[0]);
    })();
    last().get(1);
    await settle();
    const late = pull.recv();
    pull.close();
    await assert.rejects(late, Closed);
    await loop;
    assert.deepEqual(rest, [2999 & 255, 1]);
    await assert.rejects(pull.recv(), Closed);
  }
});

test("a request has an id with the high bit, and its reply is found by it", async () => {
  const req = new Req(URL, options);
  const replies = [req.request("one"), req.request("two"), req.request(new Uint8Array())];
  last().open();
  const ids = last().sent.map((sent) => [...sent.subarray(0, 4)]);
  assert.deepEqual(last().sent.map((sent) => text(sent.subarray(4))), ["one", "two", ""]);
  assert.ok(ids.every((id) => id[0] & 0x80));
  assert.equal(new Set(ids.map(String)).size, 3);
  last().get(0x80, 0, 0, 0, 7); // nobody asked
  last().get(1, 2, 3);
  last().get(...ids[1], 22);
  last().get(...ids[1], 23);
  last().get(...ids[2]);
  last().get(...ids[0], 11, 11);
  assert.deepEqual((await Promise.all(replies)).map((reply) => [...reply]), [[11, 11], [22], []]);
});

test("ids go round, and none is used twice at a time", async () => {
  const req = new Req(URL, options);
  last().open();
  req._next = 0x7ffffffe;
  for (let n = 0; n < 3; n += 1) req.request("x").catch(() => {});
  req._next = 0x7ffffffe;
  req.request("x").catch(() => {});
  await settle();
  const ids = last().sent.map((sent) => sent.subarray(0, 4).join());
  assert.deepEqual(ids, ["255,255,255,255", "128,0,0,0", "128,0,0,1", "128,0,0,2"]);
  req.close();
});

test("a request is sent again: by a new connection, and by time", async () => {
  const req = new Req(URL, options);
  const reply = req.request("q", { resend: 1000 });
  const first = last().open();
  mock.timers.tick(999);
  assert.equal(first.sent.length, 1);
  mock.timers.tick(1);
  assert.equal(first.sent.length, 2);
  first.lose();
  mock.timers.tick(100);
  const second = last().open();
  assert.deepEqual(second.sent[0], first.sent[0]);
  mock.timers.tick(1000);
  assert.equal(second.sent.length, 2);
  second.get(...second.sent[0].subarray(0, 4), 42);
  assert.deepEqual([...(await reply)], [42]);
  mock.timers.tick(100000);
  assert.equal(second.sent.length, 2);
  const once = req.request("r", { resend: 0 });
  mock.timers.tick(100000);
  assert.equal(second.sent.length, 3);
  req.close();
  await assert.rejects(once, Closed);
});

test("a request can be given up", async () => {
  const req = new Req(URL, options);
  const control = new AbortController();
  last().open();
  const slow = req.request("slow", { timeout: 50 });
  const aborted = req.request("aborted", { signal: control.signal });
  mock.timers.tick(50);
  await assert.rejects(slow, TimedOut);
  control.abort(new Error("no more"));
  await assert.rejects(aborted, /no more/);
  await assert.rejects(req.request("x", { signal: control.signal }), /no more/);
  assert.equal(req._asked.size, 0);
  await assert.rejects(req.request(7), TypeError);
  req.close();
  await assert.rejects(req.request("x"), Closed);
});

test("a reply carries the whole backtrace", async () => {
  const rep = new Rep(URL, options);
  last().open();
  last().get(0x80, 0, 0, 1, 5); // before there is anybody to answer
  rep.onrequest = async (body) => body.map((byte) => byte + 1);
  last().get(0x80, 0, 0, 1, 5);
  last().get(0, 0, 0, 9, 1, 2, 3, 4, 0xff, 0, 0, 1, 7);
  last().get(...Array(7).fill([0, 0, 0, 1]).flat(), 0x80, 0, 0, 0);
  last().get(...Array(8).fill([0, 0, 0, 1]).flat(), 0x80, 0, 0, 0); // too far
  last().get(0x80, 0, 0);
  last().get();
  last().get(0, 0, 0, 1);
  await settle();
  assert.deepEqual(last().sent.map((sent) => [...sent]), [
    [0x80, 0, 0, 1, 6],
    [0, 0, 0, 9, 1, 2, 3, 4, 0xff, 0, 0, 1, 8],
    [...Array(7).fill([0, 0, 0, 1]).flat(), 0x80, 0, 0, 0],
  ]);
});

test("a reply goes where the request came from, or nowhere", async () => {
  const rep = new Rep(URL, options);
  const errors = [];
  rep.onerror = (error) => errors.push(error.message);
  const answers = [];
  rep.onrequest = () => new Promise((resolve) => answers.push(resolve));
  const first = last().open();
  first.get(0x80, 0, 0, 1);
  first.get(0x80, 0, 0, 2);
  first.lose();
  mock.timers.tick(100);
  const second = last().open();
  second.get(0x80, 0, 0, 3);
  second.get(0x80, 0, 0, 4);
  answers.forEach((answer, place) => answer(place === 3 ? undefined : "a"));
  await settle();
  assert.deepEqual([first.sent, second.sent.map((sent) => sent[3])], [[], [3]]);
  rep.onrequest = () => {
    throw new Error("broken");
  };
  second.get(0x80, 0, 0, 5);
  await settle();
  assert.deepEqual([second.sent.length, errors], [1, ["broken"]]);
});
