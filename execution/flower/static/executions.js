/* Keeps a page of the tab of executions current. Without it, a page shows what was when
   it was loaded, and everything on it works.

   The server has escaped what it sends; nothing here makes markup of its own. */

(function () {
    "use strict";

    var page = document.querySelector("[data-stream]");
    var AGAIN_SECONDS = 5;
    var LATER_SECONDS = 15;
    var source = null;
    var after = page ? page.dataset.after : "";
    var timer = null;

    if (!page || !window.EventSource) {
        return;
    }

    function say(word, look) {
        var dot = page.querySelector("[data-live-dot]");
        var place = page.querySelector("[data-live-word]");
        if (place.textContent !== word) {
            place.textContent = word;
        }
        dot.className = "status-dot" + (look ? " status-dot-" + look : "");
    }

    /* Seconds of what runs go on between two messages, by this machine's clock. */
    function begin_to_count(root) {
        var now = performance.now() / 1000;
        root.querySelectorAll("[data-seconds]").forEach(function (place) {
            place.dataset.begun = String(now - Number(place.dataset.seconds));
        });
    }

    function write_span(seconds) {
        var minutes = Math.floor(seconds / 60);
        var hours = Math.floor(minutes / 60);
        var days = Math.floor(hours / 24);
        if (seconds < 60) {
            return seconds.toFixed(1) + " s";
        }
        if (days) {
            return days + " d " + (hours % 24) + " h";
        }
        return hours
            ? hours + " h " + (minutes % 60) + " min"
            : minutes + " min " + Math.floor(seconds % 60) + " s";
    }

    function count() {
        var now = performance.now() / 1000;
        page.querySelectorAll("[data-begun]").forEach(function (place) {
            place.textContent = write_span(Math.max(now - Number(place.dataset.begun), 0));
        });
    }

    function put(name, markup) {
        var place = page.querySelector('[data-part="' + name + '"]');
        var focused = document.activeElement;
        var id = place && place.contains(focused) ? focused.id : "";
        if (!place) {
            return;
        }
        place.innerHTML = markup;
        begin_to_count(place);
        if (id && document.getElementById(id)) {
            document.getElementById(id).focus();
        }
    }

    function add_event(markup) {
        var timeline = page.querySelector("[data-timeline]");
        var made = document.createElement("template");
        var known;
        if (!timeline) {
            return;
        }
        made.innerHTML = markup;
        known = document.getElementById(made.content.firstElementChild.id);
        if (known) {
            known.remove();
        }
        timeline.prepend(made.content.firstElementChild);
        trim(timeline);
    }

    /* What a long timeline shows no more is where the link leads. */
    function trim(timeline) {
        var link = page.querySelector("[data-older]");
        var most = Number(timeline.dataset.timeline);
        if (timeline.rows.length <= most) {
            return;
        }
        while (timeline.rows.length > most) {
            timeline.deleteRow(-1);
        }
        link.href = link.dataset.older + timeline.rows[most - 1].id.replace("event-", "");
        link.hidden = false;
    }

    function take(message) {
        var told = JSON.parse(message.data);
        /* empty before the first message of a connection that has an id */
        after = message.lastEventId || after;
        Object.keys(told.parts).forEach(function (name) {
            put(name, told.parts[name]);
        });
        (told.events || []).forEach(add_event);
        say("Live", "live");
    }

    function leave() {
        clearTimeout(timer);
        if (source) {
            source.close();
            source = null;
        }
    }

    function come_again(seconds) {
        leave();
        timer = setTimeout(follow, 1000 * seconds * (0.75 + Math.random() / 2));
    }

    function follow() {
        leave();
        if (document.hidden) {
            return;
        }
        source = new EventSource(page.dataset.stream + "&after=" + encodeURIComponent(after));
        source.addEventListener("open", function () {
            say("Live", "live");
        });
        source.addEventListener("parts", take);
        source.addEventListener("here", function () {
            say("Live", "live");
        });
        source.addEventListener("away", function () {
            say("PostgreSQL does not answer; waiting for it", "error");
        });
        source.addEventListener("end", function () {
            say("Ended", "");
            /* somebody may retry it */
            come_again(LATER_SECONDS);
        });
        source.addEventListener("error", function () {
            say("Not connected; trying again", "error");
            if (source.readyState === EventSource.CLOSED) {
                come_again(AGAIN_SECONDS);
            }
        });
    }

    /* A browser has few connections to one server: pages that nobody sees use none. */
    document.addEventListener("visibilitychange", follow);
    window.addEventListener("pagehide", leave);
    window.addEventListener("pageshow", function (event) {
        if (event.persisted) {
            follow();
        }
    });
    begin_to_count(page);
    setInterval(count, 1000);
    follow();
}());
