package api

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// pageTexts are the pages of join links in other languages than English, by the
// page's code: title and text, and under opens what stands before a time.
var pageTexts = map[string]map[string][2]string{
	"de": {
		"not_found":    {"Dieser Link ist ungültig", "Bitte prüfen Sie, ob er vollständig ist, oder bitten Sie um einen neuen."},
		"revoked":      {"Dieser Link wurde zurückgezogen", "Bitte bitten Sie um einen neuen."},
		"ended":        {"Dieses Treffen ist vorbei", "Niemand kann mehr teilnehmen."},
		"removed":      {"Sie wurden aus diesem Treffen entfernt", "Dieser Link lässt Sie nur wieder hinein, wenn die Leitung des Treffens es will: bitte fragen Sie dort."},
		"not_open":     {"Dieses Treffen ist noch nicht offen", "Bitte benutzen Sie den Link dann noch einmal."},
		"unavailable":  {"Das geht gerade nicht", "Bitte versuchen Sie es in einer Minute noch einmal."},
		"rate_limited": {"Zu viele auf einmal", "Bitte versuchen Sie es in einer Minute noch einmal."},
		"opens":        {"Es öffnet am", ""},
	},
	"fr": {
		"not_found":    {"Ce lien n’est pas valable", "Veuillez vérifier qu’il est complet, ou en demander un nouveau."},
		"revoked":      {"Ce lien a été retiré", "Veuillez en demander un nouveau."},
		"ended":        {"Cette réunion est terminée", "Plus personne ne peut y entrer."},
		"removed":      {"Vous avez été exclu de cette réunion", "Ce lien ne vous laisse revenir que si l’organisateur le souhaite : veuillez le lui demander."},
		"not_open":     {"Cette réunion n’est pas encore ouverte", "Veuillez utiliser le lien de nouveau à ce moment."},
		"unavailable":  {"Cela ne fonctionne pas pour le moment", "Veuillez réessayer dans une minute."},
		"rate_limited": {"Trop de monde à la fois", "Veuillez réessayer dans une minute."},
		"opens":        {"Elle ouvre le", ""},
	},
	"es": {
		"not_found":    {"Este enlace no es válido", "Compruebe que está completo, o pida uno nuevo."},
		"revoked":      {"Este enlace ha sido retirado", "Pida uno nuevo."},
		"ended":        {"Esta reunión ha terminado", "Ya nadie puede entrar."},
		"removed":      {"Se le ha expulsado de esta reunión", "Este enlace solo le deja volver si quien la organiza lo desea: pregúntele."},
		"not_open":     {"Esta reunión aún no está abierta", "Use el enlace de nuevo entonces."},
		"unavailable":  {"Esto no funciona ahora mismo", "Inténtelo de nuevo dentro de un minuto."},
		"rate_limited": {"Demasiada gente a la vez", "Inténtelo de nuevo dentro de un minuto."},
		"opens":        {"Se abre el", ""},
	},
}

// language returns the first language that a person's browser asks for and that there
// are texts in (RFC 9110 §12.5.4), else en.
func language(h http.Header) string {
	type wish struct {
		language string
		quality  float64
	}
	var wishes []wish
	for one := range strings.SplitSeq(strings.Join(h.Values("Accept-Language"), ","), ",") {
		tag, parameters, _ := strings.Cut(one, ";")
		w := wish{strings.ToLower(strings.TrimSpace(tag)), 1}
		if _, q, ok := strings.Cut(parameters, "q="); ok {
			w.quality, _ = strconv.ParseFloat(strings.TrimSpace(q), 64)
		}
		w.language, _, _ = strings.Cut(w.language, "-")
		if _, known := pageTexts[w.language]; (known || w.language == "en") && w.quality > 0 {
			wishes = append(wishes, w)
		}
	}
	if len(wishes) == 0 {
		return "en"
	}
	slices.SortStableFunc(wishes, func(a, b wish) int { return cmp.Compare(b.quality, a.quality) })
	return wishes[0].language
}

// in returns the page in a language.
func (p joinPage) in(language string) joinPage {
	p.Language, p.OpensOn, p.Form = "en", "It opens on", "2 January 2006 at 15:04 UTC"
	if texts, ok := pageTexts[language]; ok {
		p.Language, p.OpensOn, p.Form = language, texts["opens"][0], "2006-01-02 15:04 UTC"
		p.Title, p.Text = texts[p.Code][0], texts[p.Code][1]
	}
	return p
}
