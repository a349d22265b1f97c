'use strict';

// A service that uses Redis the way Node.js services do: a CacheService over ioredis, an express
// middleware that caches responses, one that limits requests, which is express-rate-limit, and one
// for sessions, which is express-session. The routes at its end let a test drive them.
//
// `REDIS_URL=redis://… node service.js` listens on a free port of 127.0.0.1 and prints
// `listening on <port>`. It ends when its standard input does.

const crypto = require('node:crypto');
const { RedisStore: RedisSessions } = require('connect-redis');
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const session = require('express-session');
const Redis = require('ioredis');
const { RedisStore } = require('rate-limit-redis');
const { createClient } = require('redis');

const redis = new Redis(process.env.REDIS_URL, {
  maxRetriesPerRequest: 3,
  lazyConnect: true,
  enableReadyCheck: true,
  retryStrategy: (times) => Math.min(times * 50, 2000),
});
redis.on('error', (error) => console.error('redis:', error.message));

class CacheService {
  constructor(prefix = 'app') {
    this.prefix = prefix;
  }

  key(suffix) {
    return `${this.prefix}:${suffix}`;
  }

  async get(key) {
    const data = await redis.get(this.key(key));
    if (!data) return null;
    return JSON.parse(data);
  }

  async set(key, value, ttlSeconds = 3600) {
    await redis.setex(this.key(key), ttlSeconds, JSON.stringify(value));
  }

  async del(key) {
    await redis.del(this.key(key));
  }

  async delPattern(pattern) {
    const keys = await redis.keys(this.key(pattern));
    if (keys.length > 0) {
      await redis.del(...keys);
    }
  }

  async getOrSet(key, fetcher, ttlSeconds = 3600) {
    const cached = await this.get(key);
    if (cached !== null) {
      return cached;
    }
    const fresh = await fetcher();
    await this.set(key, fresh, ttlSeconds);
    return fresh;
  }
}

function cacheMiddleware({ ttl, keyPrefix = 'http-cache', keyGenerator }) {
  return async (req, res, next) => {
    if (req.method !== 'GET') {
      return next();
    }
    const key = keyGenerator
      ? `${keyPrefix}:${keyGenerator(req)}`
      : `${keyPrefix}:${crypto.createHash('md5').update(req.originalUrl).digest('hex')}`;
    try {
      const cached = await redis.get(key);
      if (cached) {
        const { data, contentType } = JSON.parse(cached);
        res.setHeader('X-Cache', 'HIT');
        res.setHeader('Content-Type', contentType);
        return res.send(data);
      }
      const originalSend = res.send.bind(res);
      res.send = function (body) {
        if (res.statusCode < 400) {
          redis
            .setex(key, ttl, JSON.stringify({ data: body, contentType: res.getHeader('Content-Type') }))
            .catch(() => {});
        }
        res.setHeader('X-Cache', 'MISS');
        return originalSend(body);
      };
      next();
    } catch {
      next();
    }
  };
}

// A connection that is subscribed takes no other commands.
const subscriber = redis.duplicate();
subscriber.on('error', (error) => console.error('redis:', error.message));
const INVALIDATION_CHANNEL = 'cache:invalidate';

async function publishInvalidation(pattern) {
  await redis.publish(INVALIDATION_CHANNEL, pattern);
}

async function subscribeToInvalidation(handler) {
  subscriber.on('message', async (channel, message) => {
    if (channel === INVALIDATION_CHANNEL) {
      await handler(message);
    }
  });
  await subscriber.subscribe(INVALIDATION_CHANNEL);
}

const cache = new CacheService();
const app = express();
app.use(express.json({ strict: false }));

// Errors of an async handler are an answer too: express 4 does not see them.
const handle = (handler) => (req, res) =>
  handler(req, res).catch((error) => res.status(500).json({ error: String(error) }));
const ttlOf = (req) => (req.query.ttl === undefined ? undefined : Number(req.query.ttl));

app.get('/cache/:key', handle(async (req, res) => {
  res.json({ value: await cache.get(req.params.key) });
}));
app.put('/cache/:key', handle(async (req, res) => {
  await cache.set(req.params.key, req.body.value, ttlOf(req));
  res.json({});
}));
app.post('/cache/:key', handle(async (req, res) => {
  let fetched = false;
  const fetcher = async () => {
    fetched = true;
    return req.body.value;
  };
  const value = await cache.getOrSet(req.params.key, fetcher, ttlOf(req));
  res.json({ value, fetched });
}));
app.delete('/cache/:key', handle(async (req, res) => {
  await cache.del(req.params.key);
  res.json({});
}));
app.delete('/cache', handle(async (req, res) => {
  await cache.delPattern(req.query.pattern);
  res.json({});
}));
// Invalidations: what this service publishes, and the patterns that it has heard and obeyed.
const obeyed = [];
app.post('/invalidate', handle(async (req, res) => {
  await publishInvalidation(req.body.pattern);
  res.json({});
}));
app.get('/obeyed', (req, res) => res.json(obeyed));
const listening = subscribeToInvalidation(async (pattern) => {
  const keys = await redis.keys(pattern);
  if (keys.length > 0) {
    await redis.del(...keys);
  }
  obeyed.push(pattern);
});

// What JSON.stringify makes of a value: the measure for every other writer.
app.post('/stringify', (req, res) => {
  res.type('text/plain').send(JSON.stringify(req.body.value));
});

const pages = express.Router();
pages.use(cacheMiddleware({ ttl: 60 }));
pages.get('/text', (req, res) => res.type('text/plain').send(`from Node: Zoë, ${req.originalUrl}`));
pages.get('/html', (req, res) => res.type('html').send('<p title="Node">Brötchen &amp; “Tee”</p>'));
pages.get('/json', (req, res) => res.json({ from: 'Node', name: 'Zoë', sizes: [1, 2.5, null] }));
pages.get('/object', (req, res) => res.send({ from: 'Node', sent: 'as an object' }));
pages.get('/untyped', (req, res) => res.send('from Node, without a content type'));
pages.get('/bytes', (req, res) => res.type('image/png').send(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 255])));
pages.get('/missing', (req, res) => res.status(404).json({ error: 'from Node: not here' }));
app.use('/pages', pages);

// Behind one proxy, which the test stands for.
app.set('trust proxy', 1);
const limited = (prefix, headers) => [
  rateLimit({
    windowMs: 60_000,
    limit: 5,
    store: new RedisStore({ prefix, sendCommand: (...command) => redis.call(...command) }),
    ...headers,
  }),
  (req, res) => res.json({ from: 'Node' }),
];
app.get('/api/limited', limited('rl:', {}));
for (const draft of ['draft-6', 'draft-7', 'draft-8']) {
  app.get(`/limited/${draft}`, limited(`${draft}:`, { legacyHeaders: false, standardHeaders: draft }));
}

// Sessions, by one set of options for each path.
const sessionClient = createClient({ url: process.env.REDIS_URL });
sessionClient.on('error', (error) => console.error('redis:', error.message));
const hour = 3_600_000;
const lax = { maxAge: hour, sameSite: 'lax' };
const sessionOptions = {
  plain: { secret: 'keyboard cat' },
  aged: { secret: 'keyboard cat', cookie: lax },
  rolling: { secret: 'keyboard cat', cookie: lax, rolling: true },
  rotated: { secret: ['a newer cat', 'keyboard cat'], cookie: lax },
  renamed: { secret: 'a newer cat', cookie: lax },
};

// Requests that wait until a test lets them go on, by names of its choice.
const held = new Map();
const hold = (name) =>
  name === undefined ? Promise.resolve() : new Promise((go) => held.set(name, go));
app.get('/held/:name', (req, res) => res.json({ held: held.has(req.params.name) }));
app.delete('/held/:name', (req, res) => {
  held.get(req.params.name)();
  held.delete(req.params.name);
  res.json({});
});

const sessions = express.Router();
const told = (req) => ({ id: req.sessionID, session: { ...req.session, cookie: undefined } });
sessions.get('/me', (req, res) => res.json(told(req)));
sessions.put('/values/:name', handle(async (req, res) => {
  await hold(req.query.hold);
  req.session[req.params.name] = req.body.value;
  res.json(told(req));
}));
sessions.post('/sign-in', (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = req.body.user;
    res.json(told(req));
  });
});
sessions.post('/sign-out', (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({})));
});
for (const [name, options] of Object.entries(sessionOptions)) {
  const store = new RedisSessions({ client: sessionClient });
  app.use(
    `/sessions/${name}`,
    session({ store, resave: false, saveUninitialized: false, ...options }),
    sessions,
  );
}

Promise.all([sessionClient.connect(), listening]).then(() => {
  const server = app.listen(0, '127.0.0.1', () => {
    console.log(`listening on ${server.address().port}`);
  });
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
