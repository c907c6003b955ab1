// A browser starts no worker from a file; so that a copy of the site on a disk can be searched, a hidden frame is one.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.waiting = [];
      const base = new URL(url, location.href);
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.appendChild(frame);
      const inside = frame.contentWindow;
      const answer = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inside.postMessage = (data) => setTimeout(answer, 0, data);
      inside.importScripts = (...urls) =>
        urls.reduce((before, each) => before.then(() => load(each)), Promise.resolve());
      const load = (each) =>
        new Promise((done, failed) => {
          const script = inside.document.createElement("script");
          script.src = new URL(each, base).href;
          script.onload = done;
          script.onerror = failed;
          inside.document.documentElement.appendChild(script);
        });
      this.inside = inside;
      load(base).then(() => {
        this.waiting.forEach((data) => this.tell(data));
        this.waiting = null;
      });
    }
    tell(data) {
      const event = new this.inside.MessageEvent("message", { data });
      this.inside.dispatchEvent(event);
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.tell(data);
    }
    terminate() {}
  };
}
