"""The words that hospitals use for contrast phases: a table to read and to edit.

How to write a phrase: words as `tokens` gives them (lower case, no accents, no punctuation: ``w/o`` is ``w o``),
phrases separated by commas. ``word*`` is any word that begins so, ``#`` a number, ``$`` the end of the text. The
longest phrase that fits counts, so an exception is simply a longer phrase.
"""

from dataclasses import dataclass

# ruff: noqa: RUF001  (letters of other scripts are meant)


STRONG, WEAK = 3, 1  # a time such as "70 s" is between them: 2

CONTRAST = "contrast"  # contrast medium was given, the phase is not named
SEVERAL = "several"  # an examination of several phases; another word may name the phase of the series
MIXED = "mixed"  # images of more than one phase in one series
NO_PHASE = "no phase"  # a localizer, bolus tracking, a report, a derived image
NOTHING = "nothing"  # looks like a phase but is not
LATE = "late"  # excretory on its own; before the name of a phase only an adjective: "late arterial"
TARDIVE = "tardive"  # the same in languages where the adjective may follow: "arterial tardia"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Meaning of some phrases: a phase or one of the meanings above, with strength and languages."""

    meaning: str
    language: str
    phrases: str
    level: int = STRONG


WORDS = (
    Row(meaning="unenhanced", language="English", phrases="""
        unenhanced, unenh, un enhanced, non enhanced, nonenhanced, non enh, not enhanced, noncontrast,
        non contrast*, noncon, non con, non c, non iv, noniv, no contrast, no con, no iv, no iv contrast,
        no ivcon, nc, n c, ncct, nect, ncect, tnc, true non contrast, wo, w o, wo c, w o c, wo con, w o con,
        wo contrast*, w o contrast*, wo iv, w o iv, without, without contrast, without con, without iv,
        without iv contrast, wo iv contrast, w o iv contrast, pre, precontrast, pre contrast, pre con, precon,
        pre c, pre iv, pre inj*, pre phase, preinjection, plain, c-, ce-, iv-, -c, -iv, native, native phase,
        before contrast, minus contrast, contrast free, uninfused, noninfused, non infused, contrast none,
        contrast no, w out, w out c, w out con*, w out iv, wout, wout con*, no c"""),
    Row(meaning="unenhanced", language="German", phrases="""
        nativ, native, nativer, natives, nativserie, nativscan, nativct, ohne $, ohne km, ohne k m,
        ohne kontrast*, ohne iv, ohne i v, o km, km-, vor km, vor kontrast*, vor km gabe, pra km, prae km,
        pra kontrast, prakontrast, praekontrast, leerserie, leeraufnahme, leerscan, kontrastmittelfrei,
        kontrastlos, unverstarkt, nicht kontrastiert, nat"""),
    Row(meaning="unenhanced", language="French", phrases="""
        sans $, sans inj*, sans iv, sans ic, sans pdc, sans pc, sans produit*, sans contraste, sans c, ss inj*,
        ss iv, ss pdc, s inj*, avant inj*, avant contraste, avant iv, avant pdc, non inj*, noninj*, pdc-,
        spontane, spontanee, pre contraste"""),
    Row(meaning="unenhanced", language="Spanish, Portuguese", phrases="""
        sin $, sin contraste, sin cte, sin civ, sin iv, sin c, s contraste, s civ, s cte, s c $, sem $,
        sem contraste, sem iv, sem c, sem meio*, fase simple, tc simple, tac simple, abdomen simple,
        fase simples, fase vacio, en vacio, vacio, precontraste, pre contraste, basal, fase basal,
        antes contraste, antes del contraste, antes do contraste, no contrastada, nao contrastada,
        sin contrastar"""),
    Row(meaning="unenhanced", language="Italian", phrases="""
        basale, fase basale, senza $, senza mdc, senza m d c, senza contrasto, senza mezzo*, s mdc, smdc, mdc-,
        in bianco, diretta, dirette, fase diretta, prima del mdc, prima mdc, pre mdc, precontrasto,
        pre contrasto, senza iv"""),
    Row(meaning="unenhanced", language="Dutch, Scandinavian, Finnish", phrases="""
        blanco, blanko, natief, natieve, zonder $, zonder contrast*, zonder iv, zonder c, voor contrast*, utan $,
        utan kontrast*, utan km, utan iv, u km, uten kontrast*, uten km, uten iv, uden kontrast*, uden km,
        uden iv, fore kontrast*, for kontrast*, natiivi, natiivi*, ei kontrast*, ilman kontrast*, ilman ka"""),
    Row(meaning="unenhanced", language="Polish, Czech, Turkish, Hungarian", phrases="""
        bez $, bez kontrast*, bez kk, bez kl, bez k l, bez k, bez sk, bez iv, przed kontrast*, pred kontrast*,
        pred kl, przed podaniem, natywn*, nativn*, natiw, kontrastsiz*, kontrast oncesi, kontrast yok, ivsiz,
        iv siz, prekontrast*, pre kontrast*, nonkontrast*, non kontrast*, nativ*"""),
    Row(meaning="unenhanced", language="Russian", phrases="""
        нативн*, натив, без контр*, без ку, без кв, без в в, бесконтраст*, неконтраст*, до контр*, до введения,
        б к, бк, преконтраст*"""),
    Row(meaning="unenhanced", language="Chinese, Japanese, Korean", phrases="""
        平扫, 平掃, 非增强, 非增強, 未增强, 增强前, 增強前, 无增强, 无对比, 单纯, 単純, 非造影, 造影前,
        造影なし, プレーン, 비조영, 조영전, 조영 전, 단순, 조영제 전"""),
    Row(meaning="corticomedullary", language="English", phrases="""
        art, arterial, arterials, arterially, arter, art phase, artphase, hap, hepatic arterial, early phase,
        early arterial, corticomedullary, corticomed*, cortico*, cortmed*, cortical, cort med, cortico med*,
        cmp, cm phase, cmd phase, ap phase, pancreatic phase, angiographic phase"""),
    Row(meaning="corticomedullary", language="German, Dutch, Scandinavian, Finnish", phrases="""
        arteriell*, arteriel*, arterieel, arterie phase, arteriefase, arterie fase, artar fas, artarfas,
        artarfasen, arteriefasen, pankreas phase, fruharteriell*, frueharteriell*, spatarteriell*,
        spaetarteriell*, fruh phase, frueh phase, fruhe phase, kortikomed*, kortiko*, kortikal*, corticaal,
        corticale, valtimo*, barkfas, bark fas, artar"""),
    Row(meaning="corticomedullary", language="French, Spanish, Italian, Portuguese", phrases="""
        arteriel, arterielle, arteriels, arterial, arteriosa, arterioso, arteriale, arteriais, cortical,
        corticale, fase precoce, temps precoce, fase temprana, corticomedul*, corticomidollare,
        cortico midollare, corticomidoll*"""),
    Row(meaning="corticomedullary", language="Polish, Czech, Turkish, Russian, Hungarian", phrases="""
        tetnicz*, korowo*, tepenn*, arterialn*, arterialni, arteriyel*, artereyel, arteryel, korteks fazi,
        kortikomedul*, arterias, артериальн*, арт, артер, кортикомед*, кортико, корковая, корково*"""),
    Row(meaning="corticomedullary", language="Chinese, Japanese, Korean", phrases="""
        动脉期, 動脈期, 动脉相, 動脈相, 动脉早期, 動脈早期, 动脉晚期, 動脈晩期, 動脈優位相, 动脉 $, 動脈 $,
        皮质期, 皮質期, 皮質相, 皮髓期, 皮髓质期, 皮髓質期, 皮髄相, 皮質髄質相, 皮髄境界相, 早期相, 동맥기,
        동맥 $, 피질기, 피수질기, 피질수질기, 피질 수질기, 早期 $, 造影早期, a 期"""),
    Row(meaning="nephrographic", language="English", phrases="""
        ven, venous, veno, vein phase, portal, portalvenous, porto, portovenous, portal venous, portal vein,
        portal vein phase, port ven*, porto ven*, portven*, pv, pvp, pvph, pv phase, pven, pvenous, nephro,
        neph, nephr, nephrographic*, nephrograph, nephrogram, nephrotomo*, nephrogenic, nephrogen, nephrog,
        np phase, renal parenchym*, kidney parenchym*, parenchymal phase, parenchymal, medullary phase,
        tubular phase, nephro phase, hvp"""),
    Row(meaning="nephrographic", language="German, Dutch, Scandinavian, Finnish", phrases="""
        venos, venose, venoser, venoes, venoese, portalvenos*, portalvenoes*, portvenos*, portovenos*,
        portalven, portal ven, nephrographisch*, nephrogene, nephrogram*, parenchym phase, parenchymphase,
        nierenparenchym*, parenchymatos*, parenchymatoes*, tubulare, tubulaere, veneus,
        veneuze, veneus*, portoveneus*, portoveneuze, porto veneus*, portaal,
        portale, nefrografi*, nefrogra*, nefrogen*, nefro, nefr, portvene*, portaven*, portafas, porta fas,
        porta phase, venefase, vene fase, vene fas, laskimo*, porttilaskimo*, parenkym*, spatvenos*,
        spaetvenos*, fruhvenos*, fruehvenos*, spatven, fruhven"""),
    Row(meaning="nephrographic", language="French, Spanish, Italian, Portuguese", phrases="""
        veineux, veineuse, venosa, venoso, venose, venosas, portal, portale, portales, porto veineux,
        portoveineux, portovenos*, porto venos*, nephrographique*, tubulaire, tubulonephro*, parenchymateux,
        parenchymateuse, parenquimatos*, parenquimal, parenchimale, parenchimal*, nefrograf*, nefrograma,
        nefrogenica, nefrogram*"""),
    Row(meaning="nephrographic", language="Polish, Czech, Turkish, Russian, Hungarian", phrases="""
        zyln*, wrotn*, wrotno*, miazszow*, ziln*, portaln*, portoven*, venozni, venozn*, venoz, vena fazi,
        venas, nefrografi*, nefrografic*, parankim*, parenchymov*, венозн*, вен, портальн*, портовен*,
        порто венозн*, паренхим*, нефрограф*, нефро, нефрогенн*, тубуляр*"""),
    Row(meaning="nephrographic", language="Chinese, Japanese, Korean", phrases="""
        静脉期, 靜脈期, 静脉相, 静脈相, 静脈期, 静脉 $, 门脉期, 門脈期, 门静脉期, 門靜脈期, 門脈相, 門静脈相,
        門脈優位相, 门脉 $, 実質相, 腎実質相, 实质期, 實質期, 肾实质期, 腎実質期, 実質期, 髓质期, 髓質期,
        髄質相, 肾实质相, 정맥기, 문맥기, 간문맥기, 문정맥기, 실질기, 신실질기, 신장실질기, 수질기, v 期, p 期,
        정맥 $"""),
    Row(meaning="excretory", language="English", phrases="""
        excretory, excret*, excr, excre, excretion, delay, delays, dly, dlyd, delayd, dlay, del $, del #,
        del phase, del kidney*, del kub, del cor, del sag, del ax*, del thin, equilibrium, equilib, pyelographic,
        pyelogram, pyelo, pyelogr*, urographic phase, uro phase, urogram phase, urographic, urinary phase,
        ureteral phase, ureteric phase, ureter phase, collecting system phase, ep phase, washout phase"""),
    Row(meaning=LATE, language="English, Dutch, German, Scandinavian", phrases="""
        late, delayed, spat, spate, spater, spat phase, spatphase, spaet, spaete, spaetphase, spatserie,
        spataufnahme*, spaetaufnahme*, spatscan, laat, late fase, sen fas, senfas, sein fase, sen fase,
        senfase, myohais*, verzogert*, verzoegert*, vertraagd*, verlate, forsinket, fordrojd*"""),
    Row(meaning=TARDIVE, language="French, Spanish, Italian, Portuguese, Polish, Czech, Turkish, Russian", phrases="""
        tardif, tardive, tardifs, tardives, tard, tardia, tardias, tardio, tardiva, tardivo, retardee, retarde,
        retardada, retardado, retard, retrasada, ritardata, ritardato, retardo, diferida, opoznion*, opoz, pozn*,
        pozdn*, odlozen*, opozden*, zpozden*, gec, gecikmis, gec faz*, kesoi, поздн*, отсроч*, отложен*, отср"""),
    Row(meaning="excretory", language="German, Dutch, Scandinavian", phrases="""
        ausscheidung*, exkret*, exkretorisch*, urographisch*, urografisch*, uitscheiding*, utsondring*,
        utsondrings*, utskillelse*, utskillnings*, ekskret*, excretie*, eritys*, erittymis*, urinphase,
        urin phase, aquilibrium*, equilibrium*, venos spat, ausscheidungs phase"""),
    Row(meaning="excretory", language="French, Spanish, Italian, Portuguese", phrases="""
        excreteur, excretrice, excretoire, excretor, excretora, excretoria, escretor*, escretrice, escret*,
        eliminacion, eliminacao, eliminazione, urografica, fase urografica, temps urinaire, phase urinaire,
        equilibrio, equilibre, fase equilibrio, pielografic*, pielograf*, elim"""),
    Row(meaning="excretory", language="Polish, Czech, Turkish, Russian", phrases="""
        wydalnicz*, wydzielnicz*, vylucovac*, ekskretuar, ekskretuvar, ekskresyon, bosaltim, urografik,
        ekskretor*, экскретор*, экскр, выделит*, выведен*, урографич*"""),
    Row(meaning="excretory", language="Chinese, Japanese, Korean", phrases="""
        排泄期, 排泄相, 排泌期, 分泌期, 肾盂期, 腎盂期, 腎盂相, 延迟期, 延遲期, 延迟, 延遲, 遅延相, 遅延, 延时,
        后期相, 後期相, 晩期相, 晚期相, 平衡期, 平衡相, 배설기, 배뇨기, 지연기, 지연, 신우기, 평형기, d 期,
        後期 $, 后期 $, 造影後期"""),
    Row(meaning="corticomedullary", level=WEAK, language="any", phrases="""
        cta, ct angio, angio, angiography, angiogram, angiographie, angiografia, angiotc, angioct, angio ct,
        angio tc, angioscan, ct angiogram, ct angiography, cta abd*, cortex, cm art"""),
    Row(meaning="nephrographic", level=WEAK, language="any", phrases="""
        np, port, medullary, parenchyma phase"""),
    Row(meaning="excretory", level=WEAK, language="any", phrases="""
        uro, urogram, urography, urografie, urographie, urografia, urogramm, ep, exc, with delay, with delays,
        with delayed, w delay, w delays, w delayed"""),
    Row(meaning=CONTRAST, language="any", phrases="""
        with $, w $, post $, post bolus, nach bolus, with bolus, post contrast*, postcontrast, post con,
        post iv, post c, post km, post inj*, post mdc, post gd, c+, ce+, iv+, km+, +c, +iv, pdc+, mdc+,
        w contrast, with contrast, w con, w c, w iv, with iv, with iv contrast, enhanced, cect, ce, mit km,
        mit kontrast*, m km, nach km, nach kontrast*, avec inj*, avec iv, avec contraste, apres inj*, inj,
        injecte, con contraste, con civ, con mdc, con contrasto, com contraste, met contrast, med kontrast*,
        m kontrast, z kontrast*, s kontrast*, s kl, kontrastli*, с контр*, после контр*, 增强, 増強, 造影後,
        造影, 조영후, 조영증강, po kontras*, c contraste, c civ"""),
    Row(meaning=SEVERAL, language="any", phrases="""
        w wo*, wwo*, w w o*, w wo contrast, w w o contrast, w and wo*, w and w o*, wo w*, w o w*, wo and w*,
        w o and w*, with without, with and without*, without and with*, with wo, w without, with w o, w o with,
        with and w o, without with, w and without, pre post, pre and post, prepost, pre post contrast,
        pre and post contrast, pre and post con, mit und ohne, mit ohne, ohne und mit, ohne mit, nativ und km,
        native and km, native und km,
        nativ km, nativ mit km, avec et sans, sans et avec, sans puis avec, sans avec, avec sans, con y sin,
        sin y con, con sin, con e senza, senza e con, senza con, con senza, sem e com, com e sem, sem com,
        c s contraste, c s civ, met en zonder, zonder en met, bez i z, z i bez, bez a s, s i bez, med och utan,
        utan och med, med og uten, uten og med, med og uden, uden og med, kontrastli kontrastsiz, с и без,
        без и с, 平扫 增强, 平扫加增强, 単純 造影, 造影前後, 增强前后, # phase, # phases, # phasen, # fasi,
        # fases, # fasen, # faz, # fazli, multi phase*, multiphase*, multiphasic, triphasic, tri phase,
        biphasic, bi phase, dual phase, dynamic, quad phase, triphase, biphase, triple phase, three phase,
        two phase, four phase, mehrphasig*, dreiphasig*, zweiphasig*, multifas*, trifas*, bifas*,
        multiphasique, tri phasique, fazn*, trojfaz*, wielofaz*, многофаз*, мультифаз*, # 期, 多期, 三期, 双期,
        三相, 多相, 다중, c+-, nativ u km, nativ i v km, w w out, with w out, w and w out, with and w out,
        w wout, w out w, w out and w, w out and with"""),
    Row(meaning=MIXED, language="any", phrases="""
        arteriovenous, arterio venous, art port, arterial port, art and port,
        arterial and port, port art, arteriovenos*, arterio venos*, mixed phase, split bolus, and delay,
        and delays, and delayed, and late, and excretory, plus delay*, incl delay*, und spat*, et tardif,
        y tardia, e tardiva, e tardia"""),
    Row(meaning="corticomedullary", language="spelling mistakes", phrases="""
        arteral, aterial, artial, artierial, arterail, arteiral, cortiomed*, coricomed*, corticalmed*"""),
    Row(meaning="nephrographic", language="spelling mistakes", phrases="""
        venouse, vneous, veonus, portovenus, portal venus, nephographic, neprographic, nephrograhic,
        nephrograpic, nephogram, nephrographc, nephorgraphic, paranchym*, parenchim*, parynchym*"""),
    Row(meaning="excretory", language="spelling mistakes", phrases="""
        excertory, excreatory, excretary, dealy, dealyed, deley, delyed"""),
    Row(meaning="unenhanced", language="spelling mistakes", phrases="""
        unehanced, uninhanced, unenhaced, non contast, noncotrast, no contrat"""),
    Row(meaning=NO_PHASE, language="any", phrases="""
        topogram*, topo, scout, scouts, scanogram*, surview, localizer*, localiser*, survey, scano, pilot,
        monitoring, premonitoring, pre monitoring, monitor, tracker, bolus, care bolus, test bolus, testbolus,
        bolus tracking, smart prep, smartprep, sure start, surestart, timing bolus, dose report, dose info*,
        patient protocol, dose record, protocol page, screen save, screensave, vnc, virtual non contrast*,
        virtual noncontrast, virtual unenhanced, virtual native, virtuell nativ, iodine map*, iodine, iodmap,
        subtraction, subtracted, perfusion, locator, lokalizator*, 定位像, 定位, 位置決め, スカウト, 剂量报告"""),
    Row(meaning=NOTHING, language="any", phrases="""
        no delay*, without delay*, wo delay*, w o delay*, no arterial, no art, no venous, no ven, no excretory,
        without arterial, without venous, ohne arteriell*, ohne venos*, ohne spat*, ohne ven, ohne art,
        sans arteriel*, sans tardif, no late, not delayed, sin fase, without oral*, wo oral*, w o oral*,
        no oral*, ohne oral*, sans oral*, sin oral, non oral, w o po, wo po, without rectal*, art hip,
        art knee, art joint, art shoulder, art cadera, art hufte, state of the art, art recon, art reduction,
        art red, metal art, art iter*, pre op*, preop*, pre tx, pre transplant*, pre tavi, pre tavr,
        pre biops*, pre ablat*, pre treat*, pre chemo*, pre therap*, pre surg*, pre proc*, pre embol*,
        pre dialysis, pre nephrect*, pre rfa, pre cryo*, pre interv*, pre cardiac, pre plan*, pre evar,
        pre medic*, pre hydrat*, pre auth*, pre school, native kidney*, native renal*, native nephrect*,
        native liver, native valve*, native aort*, native heart, native vessel*, native lung*, native resol*,
        native recon*, plain film*, plain radio*, vena cava, venous malform*, venous thromb*, deep ven*,
        venous sinus*, venous access, venous line, venous catheter, portal hypert*, portal thromb*,
        portal vein thromb*, port cath*, port a cath*, porta cath*, port film*, port check, port placement,
        port site*, porto alegre, porta hepatis, arterial disease*, arterial occl*, arterial sten*,
        arterial line, late effect*, late follow*, late gad*, late onset, developmental delay*, delayed union,
        growth delay*, np tube, basal gangl*, basal lung*, basal cistern*, lung basal, simple cyst*, uro ct,
        ct uro, uroct, ctu, ct urogram*, ct urograph*, urogram ct, uro tc, uro tac, uro scanner, uro scan,
        ct urografi*, tc urografi*, ct ivp, ct ivu, uro protocol, urography ct, cortical bone, cortical thick*,
        adrenal cort*, cortical window, cta neck, cta head, min ip, late post op*, post pre, w and o,
        parenchyma lung, lung parenchym*, pulmonary parenchym*, plain ct guid*, nc state, iv ven, wo weg,
        pre scan, prescan, w o recon, 大动脉, 大動脈, 主动脉, 主動脈, 肺动脉, 肺動脈, 冠动脉, 冠状动脉, 冠動脈,
        动脉瘤, 動脈瘤, 肾动脉 $, 腎動脈 $, 下肢静脉, 肺静脉, 대동맥, 관상동맥, 延时重建, art renalis,
        portal venogr*, cardiac cta, coronary cta, cta chest, cta coron*, cta cardiac, cta pulm*, cta brain,
        cta carotid*, chest cta, head cta, neck cta"""),
)  # fmt: skip
