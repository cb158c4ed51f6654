// A browser starts no worker for a page that it read from a folder. There the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const base = new URL(url, document.baseURI)
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      const inside = frame.contentWindow
      const load = source =>
        new Promise((resolve, reject) => {
          const script = frame.contentDocument.createElement("script")
          script.src = new URL(source, base)
          script.onload = resolve
          script.onerror = reject
          frame.contentDocument.body.appendChild(script)
        })
      inside.importScripts = (...sources) =>
        sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve())
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.inside = inside
      this.frame = frame
      this.ready = load(base)
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })))
    }

    set onmessage(listener) {
      this.addEventListener("message", listener)
    }

    terminate() {
      this.frame.remove()
    }
  }
}
